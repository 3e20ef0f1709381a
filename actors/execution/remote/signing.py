"""Signatures of what is sent, and the tokens by which callbacks show of which run they are.

Signatures are those of the specification Standard Webhooks 1.0 (standardwebhooks.com), for which there are libraries in
most languages: HMAC-SHA256 over id, time and body.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from hashlib import sha256

__all__ = ["callback_token", "is_callback_token", "signature_headers", "start_token"]


def signature_headers(secrets: Sequence[bytes], *, message_id: str, at_s: int, body: bytes) -> dict[str, str]:
    """The three headers; with several secrets a signature by each, so that receivers can change over one by one."""
    signed = f"{message_id}.{at_s}.".encode() + body
    signatures = [base64.b64encode(hmac.digest(secret, signed, sha256)).decode() for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def start_token(run_id: str) -> str:
    """By what the catalog knows the one execution of a run elsewhere.

    Always the same for a run: it may be offered twice, by two services, and is executed once, because the orchestrator
    knows it by its id. What is written after the run has ended is refused by its state. It is no secret.
    """
    return f"http:{run_id}"


def callback_token(secret: bytes, run_id: str) -> str:
    """What callbacks of a run show, and of no other run."""
    digest = hmac.digest(secret, f"callback\n{run_id}\n{start_token(run_id)}".encode(), sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def is_callback_token(secrets: Sequence[bytes], run_id: str, shown: str) -> bool:
    """Whether it was made for the run with one of the secrets. Takes the same time whatever is shown."""
    digest = sha256(shown.encode(errors="surrogatepass")).digest()
    is_known = False
    for secret in secrets:
        is_known |= hmac.compare_digest(digest, sha256(callback_token(secret, run_id).encode()).digest())
    return is_known
