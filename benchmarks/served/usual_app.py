"""The usual app: Flask's own server, one ``pipeline()`` call a request, the CSV file opened for each row.

``python -m benchmarks.served.usual_app MODEL PORT CSV``
"""

from __future__ import annotations

import csv
import sys
import time
from datetime import datetime
from typing import Any

from flask import Flask, jsonify, request
from transformers import pipeline

MODEL, PORT, FILE = sys.argv[1:]

app = Flask(__name__)
classify = pipeline("sentiment-analysis", model=MODEL, device=-1)


@app.post("/infer")
def infer() -> Any:
    began = time.time()
    text = request.get_json()["text"]
    found = classify(text)[0]
    latency_ms = (time.time() - began) * 1000
    with open(FILE, "a", newline="") as file:
        csv.writer(file).writerow([f"{latency_ms:.2f}", found["label"], text, datetime.now().isoformat()])
    return jsonify(sentiment=found["label"], score=found["score"], latency_ms=latency_ms)


app.run(host="127.0.0.1", port=int(PORT), threaded=True)
