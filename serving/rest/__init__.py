"""TensorFlow Serving's REST API (tensorflow_serving/g3doc/api_rest.md) as an ASGI application."""
