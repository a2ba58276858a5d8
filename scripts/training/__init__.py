"""The parts of ``scripts/train.py``: options, problem, fitting, scores, report, picture, model file."""
