"""The tree compiler: an XGBoost booster as stock TensorFlow operations. Start at `compile.compile_forest`."""
