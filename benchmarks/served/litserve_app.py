"""LitServe with a transformers classifier and its batching. ``python -m benchmarks.served.litserve_app MODEL PORT``"""

from __future__ import annotations

import sys
from typing import Any

import litserve
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

MODEL, PORT = sys.argv[1:]


class Classifier(litserve.LitAPI):  # type: ignore[misc]  # it comes without types
    def setup(self, device: str) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(MODEL)
        self.model = AutoModelForSequenceClassification.from_pretrained(MODEL).to(device).eval()

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # LitServe makes a form field of an annotation
        return request["text"]

    def predict(self, x: Any) -> Any:
        inputs = self.tokenizer(x, padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            return self.model(**inputs).logits.softmax(-1)

    def unbatch(self, output: Any) -> Any:
        return list(output)

    def encode_response(self, output: Any) -> Any:
        best = int(output.argmax())
        return {"sentiment": self.model.config.id2label[best], "score": float(output[best])}


if __name__ == "__main__":
    server = litserve.LitServer(Classifier(max_batch_size=32, batch_timeout=0.005), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(PORT), generate_client_file=False, log_level="warning")
