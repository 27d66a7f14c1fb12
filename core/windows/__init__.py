"""Cover an array of any size and rank with windows, run a model, blend or collect its answers."""

from fieldsight.core.windows.blending import predict
from fieldsight.core.windows.context import Context, context_of
from fieldsight.core.windows.detecting import detect
from fieldsight.core.windows.geometry import Axis, Plan, fitted, plan

__all__ = ["Axis", "Context", "Plan", "context_of", "detect", "fitted", "plan", "predict"]
