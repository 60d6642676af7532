"""Bytes that are almost right: what finds more faults in a parser than random ones."""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def mutated(draw, originals):
    """Return one of *originals* (bytes) with a few pieces changed, cut out, doubled or put in."""
    data = bytearray(draw(originals))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        until = min(len(data), at + draw(st.integers(0, 8)))
        match draw(st.sampled_from(["flip", "put", "cut", "double", "swap"])):
            case "flip" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "put":
                data[at:until] = draw(st.binary(max_size=9))
            case "cut":
                del data[at:until]
            case "double":
                data[at:at] = data[at:until]
            case _:
                data[at:until] = data[at:until][::-1]
    return bytes(data)
