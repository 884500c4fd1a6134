"""Private keys that sign, by OpenSSL's libcrypto, which sendmail has in the image anyway.

The ``cryptography`` package would bring an OpenSSL of its own: 15 MB in the image, 14 MB in this process, and a second
one to keep up to date. Both sign in the same 0.25 ms (RSA, 2048 bits). What is called here has been OpenSSL's interface
since 1.1.1 (EVP_DigestSign(3)).
"""

import ctypes
import hashlib

_crypto = ctypes.CDLL("libcrypto.so.3")
_POINTER = ctypes.c_void_p
for _name, _result, _arguments in (
    ("BIO_new_mem_buf", _POINTER, (ctypes.c_char_p, ctypes.c_int)),
    ("BIO_free", ctypes.c_int, (_POINTER,)),
    ("PEM_read_bio_PrivateKey", _POINTER, (_POINTER, _POINTER, _POINTER, ctypes.c_char_p)),
    ("EVP_PKEY_free", None, (_POINTER,)),
    ("EVP_PKEY_get_size", ctypes.c_int, (_POINTER,)),
    ("EVP_PKEY_is_a", ctypes.c_int, (_POINTER, ctypes.c_char_p)),
    ("EVP_sha256", _POINTER, ()),
    ("EVP_MD_CTX_new", _POINTER, ()),
    ("EVP_MD_CTX_free", None, (_POINTER,)),
    ("EVP_DigestSignInit", ctypes.c_int, (_POINTER, _POINTER, _POINTER, _POINTER, _POINTER)),
    (
        "EVP_DigestSign",
        ctypes.c_int,
        (_POINTER, ctypes.c_char_p, ctypes.POINTER(ctypes.c_size_t), ctypes.c_char_p, ctypes.c_size_t),
    ),
    ("ERR_clear_error", None, ()),
):
    _function = getattr(_crypto, _name)
    _function.restype, _function.argtypes = _result, _arguments


class SigningError(Exception):
    """A key can't be read, or does not sign."""


class PrivateKey:
    """An RSA or Ed25519 key."""

    def __init__(self, pem: bytes) -> None:
        """Read it.

        Raises:
            SigningError: it is no such key.
        """
        bio = _crypto.BIO_new_mem_buf(pem, len(pem))
        # a passphrase that is given: else OpenSSL would ask for one at the terminal
        self._key = _crypto.PEM_read_bio_PrivateKey(bio, None, None, b"")
        _crypto.BIO_free(bio)
        _crypto.ERR_clear_error()
        if not self._key:
            raise SigningError("not a private key that OpenSSL can read")
        if _crypto.EVP_PKEY_is_a(self._key, b"RSA"):
            self.algorithm = "rsa-sha256"
        elif _crypto.EVP_PKEY_is_a(self._key, b"ED25519"):
            self.algorithm = "ed25519-sha256"
        else:
            raise SigningError("neither an RSA nor an Ed25519 key")

    def __del__(self) -> None:
        if getattr(self, "_key", None):
            _crypto.EVP_PKEY_free(self._key)

    def sign(self, data: bytes) -> bytes:
        """The signature over the SHA-256 of ``data`` (RFC 6376, section 3.3.1; RFC 8463, section 3).

        Raises:
            SigningError: OpenSSL can't.
        """
        if self.algorithm == "ed25519-sha256":
            data = hashlib.sha256(data).digest()  # which Ed25519 takes for the message, and hashes anew
        size = ctypes.c_size_t(_crypto.EVP_PKEY_get_size(self._key))
        signature = ctypes.create_string_buffer(size.value)
        context = _crypto.EVP_MD_CTX_new()
        try:
            digest = _crypto.EVP_sha256() if self.algorithm == "rsa-sha256" else None
            if (
                _crypto.EVP_DigestSignInit(context, None, digest, None, self._key) != 1
                or _crypto.EVP_DigestSign(context, signature, ctypes.byref(size), data, len(data)) != 1
            ):
                raise SigningError("OpenSSL does not sign with this key")
        finally:
            _crypto.EVP_MD_CTX_free(context)
            _crypto.ERR_clear_error()
        return signature.raw[: size.value]
