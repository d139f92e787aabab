"""gRPC transport: PredictionService, ModelService, health and reflection on grpc.aio."""
