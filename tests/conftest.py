"""What holds for all tests."""

import os

# Most of the suite's time is compilation of programs that run once: let LLVM optimise none of them, here and in the
# processes that tests start. What they compute is the same; speed is measured by `ceas bench`.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0".strip()
