#!/usr/bin/env python3
"""Makes tokens.json with PyJWT, an implementation that shares nothing with ours: `pip install pyjwt; ./tokens.py > tokens.json`.

The key is that of the all-zero uid under the master key `MASTER_KEY`, as Meilisearch derives it.
"""
import base64
import json

import jwt

UID = "00000000-0000-0000-0000-000000000000"
KEY = "aeb94973e0b6e912d94165430bbe87dee91a7c4f891ce19050c3910ec96977e9"


def token(claims, key=KEY, algorithm="HS256", headers=None):
    return jwt.encode(claims, key, algorithm=algorithm, headers=headers)


def raw(header, claims, signature="AAAA"):
    def part(value):
        return base64.urlsafe_b64encode(value.encode()).rstrip(b"=").decode()

    return f"{part(header)}.{part(claims)}.{signature}"


def good(rules, **more):
    return {"searchRules": rules, "apiKeyUid": UID, **more}


HEADER = '{"alg":"HS256","typ":"JWT"}'
SIGNED = token(good(["*"]))
RSA = '{"alg":"RS256","typ":"JWT"}'
CLAIMS = json.dumps(good(["*"]))

VALID = {
    "a list": token(good(["films", "song*"])),
    "a map": token(good({"films": {"filter": "user = 1"}, "song*": None, "*": {}})),
    "384 bits": token(good(["*"]), algorithm="HS384"),
    "512 bits": token(good(["*"]), algorithm="HS512"),
    "expires in 2100": token(good(["*"], exp=4102444800)),
    "claims that nobody knows": token(good(["*"], iss="me", nbf=4102444800)),
    "further headers": token(good(["*"]), headers={"kid": "k1"}),
    "patterns that name no index": token(good(["a b", "\u00e9*"])),
}

REFUSED = {
    "signed with another key": (token(good(["*"]), key="tamo" * 16), "Could not decode tenant token, InvalidSignature."),
    "signed with no key": (token(good(["*"]), key="", algorithm="none"),
        "Could not decode tenant token, JSON error: unknown variant `none`, expected one of `HS256`, `HS384`, `HS512`, `ES256`, `ES384`, "
        "`RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `EdDSA` at line 1 column 13."),
    "another family": (raw(RSA, CLAIMS), "Could not decode tenant token, InvalidAlgorithm."),
    "changed after signing": (SIGNED.split(".")[0] + "." + raw("", json.dumps(good(["a"]))).split(".")[1] + "." + SIGNED.split(".")[2],
        "Could not decode tenant token, InvalidSignature."),
    "no rules": (token({"tamo": "kefir"}), "Could not decode tenant token, JSON error: missing field `searchRules` at line 1 column 16."),
    "rules of a wrong kind": (token({"searchRules": "kefir"}),
        "Could not decode tenant token, JSON error: data did not match any variant of untagged enum SearchRules at line 1 column 23."),
    "no uid": (token({"searchRules": ["*"]}), "Could not decode tenant token, JSON error: missing field `apiKeyUid` at line 1 column 21."),
    "an audience": (token(good(["*"], aud="you")), "Could not decode tenant token, InvalidAudience."),
    "an expiry in parts of a second": (token(good(["*"], exp=4102444800.5)),
        "Could not decode tenant token, JSON error: invalid type: floating point `4102444800.5`, expected i64 at line 1 column 90."),
    "bad base64": ("a!b.c.d", "Could not decode tenant token, Base64 error: Invalid symbol 33, offset 1.."),
    "a cut signature": (SIGNED[:-1], None),
    "an empty signature": (SIGNED.rsplit(".", 1)[0] + ".", "Could not decode tenant token, InvalidSignature."),
    "expired": (token(good(["*"], exp=1600000000)), "Tenant token expired. Was valid up to `1600000000` and we're now `1800000000`."),
    "of a key that is not there": (jwt.encode({"searchRules": ["*"], "apiKeyUid": "4bc0887a-0e41-4f3b-935d-0c451dcee9c8"},
        "d9e776b8412f1db6974c9a5556b961c3559440b6588216f4ea5d9ed49f7c8f3c"), "The provided API key is invalid."),
    "two parts": ("a.b", "The provided API key is invalid."),
    "no token": ("kefir", "The provided API key is invalid."),
}

print(json.dumps({"master_key": "MASTER_KEY", "uid": UID, "key": KEY, "valid": VALID, "refused": REFUSED}, indent=1))
