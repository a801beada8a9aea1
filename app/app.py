"""The app as a Hugging Face Space."""

import os

from wildrayzer.app.serve import serve

serve(os.environ.get("WILDRAYZER_CHECKPOINT"), host="0.0.0.0", port=7860)
