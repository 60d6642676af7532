"""How attributes become bytes and come back."""

from .msgpack import Codec, MsgpackCodec


__all__ = ["Codec", "MsgpackCodec"]
