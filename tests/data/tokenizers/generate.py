#!/usr/bin/env python3
"""Writes components.jsonl.gz: what Hugging Face `tokenizers` makes of every component of a
tokenizer.json that BPE tokenizers use, each in a tiny tokenizer of its own.

    python3 generate.py            # with tokenizers 0.23.3

A line is one tokenizer: its name, "tokens" and "merges" beside a token for each byte (ids 0 .. 255,
the tokens follow), and the other members of the file; "encode" has texts with their ids, without
and with special tokens, and where the two libraries define them alike the tokens' bytes of the
text; "decode" has ids with their texts, special tokens kept and skipped.
"""

import gzip
import itertools
import json
from pathlib import Path

import tokenizers

MARK = "\u2581"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


def alphabet():
    """GPT-2's printable character for each byte."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in own else next(others)) for byte in range(256)]


def added(number, content, *flags):
    return {"id": number, "content": content, **{flag: flag in flags for flag in FLAGS}}


def tokenizer_json(case):
    vocab = {token: number for number, token in enumerate([*BYTES, *case["tokens"]])}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": True,
             "ignore_merges": False, "vocab": vocab, "merges": case["merges"]}
    file = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
            "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None}
    return file | case["file"] | {"model": model | case["model"]}


def byte_span(text, span):
    return [len(text[:position].encode()) for position in span]


CASES = []


def case(name, texts=(), decode=(), tokens=(), merges=(), model=None, spans=True, **file):
    line = {"name": name, "tokens": list(tokens), "merges": list(merges), "model": model or {},
            "file": file}
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(tokenizer_json(line)))
    line["encode"] = []
    for text in texts:
        plain = tokenizer.encode(text, add_special_tokens=False)
        entry = {"text": text, "ids": plain.ids}
        special = tokenizer.encode(text)
        if special.ids != plain.ids:
            entry["ids_special"] = special.ids
        if spans:
            entry["spans"] = [byte_span(text, span) for span in plain.offsets]
        line["encode"].append(entry)
    line["decode"] = [{"ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=False),
                       "text_skipping": tokenizer.decode(ids)} for ids in decode]
    CASES.append(line)


def marked(*steps):
    """Shows where the pieces begin: each gets a "|" in front."""
    show = {"type": "Metaspace", "replacement": "|", "prepend_scheme": "always", "split": False}
    return {"type": "Sequence", "pretokenizers": [*steps, show]}


def split(pattern, behavior, invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def byte_level(**changes):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
            "use_regex": True} | changes


BEHAVIORS = ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")


def splits():
    texts = ["xaay", "aa", "xbaab a", "b", "\u00e9a\u4e2daa\U0001f600", ""]
    patterns = [{"String": "a"}, {"Regex": "a+|b(?=a)"}, {"String": "aa"}, {"Regex": "\\p{L}"}]
    for pattern, behavior, invert in itertools.product(patterns, BEHAVIORS, (False, True)):
        case(f"split {json.dumps(pattern)} {behavior} {'inverted' if invert else ''}", texts,
             tokens="|", spans=False, pre_tokenizer=marked(split(pattern, behavior, invert)))


def pre_tokenizers():
    texts = ["a1 22,b!! c", " x\u00b2\u0663 y\n\n\tz", "don't  stop\u3002\u00bf$5", "", "|a-b||c"]
    steps = {
        "digits apart": [{"type": "Digits", "individual_digits": True}],
        "digits together": [{"type": "Digits", "individual_digits": False}],
        "white space": [{"type": "Whitespace"}],
        "white space removed": [{"type": "WhitespaceSplit"}],
        "delimiter": [{"type": "CharDelimiterSplit", "delimiter": "|"}],
        "nested": [{"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {
            "type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}]}]},
            {"type": "Punctuation", "behavior": "Isolated"}],
        "empty sequence": [{"type": "Sequence", "pretokenizers": []}],
        **{f"punctuation {behavior}": [{"type": "Punctuation", "behavior": behavior}]
           for behavior in BEHAVIORS},
    }
    for name, sequence in steps.items():
        case(f"pre-tokenizer {name}", texts, tokens="|", spans=False,
             pre_tokenizer=marked(*sequence))


def byte_levels():
    letters = alphabet()
    space, newline = letters[0x20], letters[0x0A]
    tokens = [*letters, space + "a", "ab", space + "ab", space + space, newline + newline]
    merges = [f"{space} a", "a b", f"{space}a b", f"{space} {space}", f"{newline} {newline}"]
    texts = ["ab ab", " ab", "a1  ab\n\n ab \u00e9\u4e2d", "it's\t\U0001f600ab ", "", "   ", " "]
    sequences = {
        "alone": byte_level(),
        "with a prefix space": byte_level(add_prefix_space=True),
        "without its pattern": byte_level(use_regex=False),
        "behind digits": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True}, byte_level()]},
        "behind removed space": {"type": "Sequence", "pretokenizers": [
            {"type": "WhitespaceSplit"}, byte_level(use_regex=False)]},
        "twice": {"type": "Sequence", "pretokenizers": [byte_level(), byte_level(use_regex=False)]},
        "before a split": {"type": "Sequence", "pretokenizers": [
            byte_level(use_regex=False), split({"String": space}, "MergedWithNext")]},
    }
    for name, step in sequences.items():
        for fallback in (False, True):
            case(f"byte level {name}, byte fallback {fallback}", texts, tokens=tokens,
                 merges=merges, model={"byte_fallback": fallback}, pre_tokenizer=step)
    few = [*letters[0x20:0x7F], space + "a"]
    for model in ({"byte_fallback": False}, {"byte_fallback": True},
                  {"byte_fallback": False, "unk_token": "?", "fuse_unk": True}):
        case(f"byte level of a small alphabet, {model}", texts, tokens=few, merges=merges[:1],
             model=model, pre_tokenizer=byte_level())
    case("byte level that ignores merges", [*texts, "abc"], tokens=[*tokens, "abc"], merges=merges,
         model={"byte_fallback": False, "ignore_merges": True}, pre_tokenizer=byte_level())
    for trim, prefix in itertools.product((False, True), repeat=2):
        case(f"trimming {trim}, prefix space {prefix}", texts, tokens=tokens, merges=merges,
             model={"byte_fallback": False}, pre_tokenizer=byte_level(add_prefix_space=prefix),
             post_processor=byte_level(trim_offsets=trim, add_prefix_space=prefix))
    case("normalizer ByteLevel", texts, tokens=tokens, merges=merges, spans=False,
         model={"byte_fallback": False}, normalizer={"type": "ByteLevel"})


def metaspaces():
    texts = ["a b", " a  b ", "a<x>b <x> c", "<x> a", "", " ", MARK + "a", "a\u00e9 \u4e2d"]
    for scheme, splits_words in itertools.product(("first", "always", "never"), (False, True)):
        step = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": scheme,
                "split": splits_words}
        case(f"metaspace {scheme}, split {splits_words}", texts, [[256, 97, 258, 256, 98, 259]],
             tokens=[MARK, "a", MARK + "a"], merges=[f"{MARK} a"],
             added_tokens=[added(259, "<x>")], pre_tokenizer=step, decoder=step)


def added_tokens():
    texts = ["a<x>b", "a <x> b", " <x>  <x>y ", "<x>", "a<X>b", "x<x>1 <x>.", "<x>\u3000\n<x>",
             "\u00e9<x>\u0301", "q q1 1q Q", ""]
    lower = {"type": "Lowercase"}
    prepend = {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": MARK},
        {"type": "Replace", "pattern": {"String": " "}, "content": MARK}]}
    for count in range(len(FLAGS) + 1):
        for flags in itertools.combinations(FLAGS, count):
            tokens = [added(257, "<x>", *flags), added(258, "<x>y", *flags), added(259, "q", *flags)]
            case(f"added token {' '.join(flags)}", texts, tokens=[MARK], added_tokens=tokens)
            spaces = [added(257, "\n", *flags), added(258, "\u3000", *flags)]
            case(f"added white space {' '.join(flags)}", ["a\n\n\tb", "\n \n", "a\n\u3000 \u3000b"],
                 tokens=[MARK], added_tokens=spaces)
            # Normalizers move a token's bytes in their own way.
            if "special" not in flags:
                for name, normalizer in (("lower case", lower), ("SentencePiece", prepend)):
                    case(f"added token {' '.join(flags)}, {name}", texts[:6], tokens=[MARK],
                         spans=False, added_tokens=tokens, normalizer=normalizer)


def normalizers():
    texts = ["  A\u0301 b\u00c9 ", "\ufb01\u212b\u1e9b\u0323\u2460", "\u0130I\u03a3\u01c5 \u1f88",
             "\u1100\u1161\u11a8\uac00\u11a8", "a\u0301\u0323\u0345\u05b0\u3099", "\t\u00a0x\u3000\n",
             "\x01\x0b\u200b\ufeff\u2028", "", "aab a"]
    steps = [{"type": name} for name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents",
                                         "Nmt")]
    steps += [{"type": "Strip", "strip_left": left, "strip_right": right}
              for left, right in itertools.product((False, True), repeat=2)]
    steps += [{"type": "Prepend", "prepend": "_x"}]
    steps += [{"type": "Replace", "pattern": pattern, "content": content}
              for pattern in ({"String": "a"}, {"Regex": "a+|\\s"}, {"Regex": "\\b"})
              for content in ("", "__")]
    steps += [{"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"},
                                                   {"type": "Lowercase"}, steps[7]]},
              {"type": "Sequence", "normalizers": []}]
    for step in steps:
        case(f"normalizer {json.dumps(step)}", texts, spans=False, normalizer=step)


def post_processors():
    special = {token: {"id": token, "ids": ids, "tokens": [token] * len(ids)}
               for token, ids in (("<s>", [256]), ("</s>", [257, 257]))}
    text, pair = {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}
    begin, end = ({"SpecialToken": {"id": token, "type_id": 0}} for token in ("<s>", "</s>"))
    templates = {"around": [begin, text, end], "before": [begin, begin, text], "none": [text],
                 "twice": [begin, text, text], "without the text": [begin, end]}
    for name, single in templates.items():
        template = {"type": "TemplateProcessing", "single": single,
                    "pair": [*single, pair, end], "special_tokens": special}
        for processor in (template, {"type": "Sequence", "processors": [byte_level(), template]}):
            case(f"template {name} in {processor['type']}", ["a b", "", "<s>a"],
                 tokens=["<s>", "</s>"], added_tokens=[added(256, "<s>", "special")],
                 post_processor=processor)


def models():
    words = ["a b\u2581c", "  a", "\u2581\u2581b a", "a\u00e9 \u00e9a", "\u4e2d \u4e2d\u4e2d b", "",
             "ab ab  abc", "c\u00e9\u00e9 b"]
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": MARK}
    tokens = [MARK, "a", "b", "c", MARK + "a", MARK * 2, MARK * 3, "ab", MARK + "ab", "<unk>"]
    merges = [f"{MARK} a", f"{MARK} {MARK}", f"{MARK}{MARK} {MARK}", "a b", f"{MARK}a b"]
    crossing = [*tokens, "b" + MARK, "b" + MARK + "a"]
    for name, use in {"no merge crosses": (tokens, merges),
                      "a merge crosses": (crossing, [f"b {MARK}", *merges, f"b{MARK} a"]),
                      "without the mark": (["a", "b", "ab", "<unk>"], ["a b"])}.items():
        for model in ({}, {"byte_fallback": False}, {"ignore_merges": True},
                      {"byte_fallback": False, "unk_token": "<unk>"},
                      {"byte_fallback": False, "unk_token": "<unk>", "fuse_unk": True},
                      {"unk_token": "<unk>", "fuse_unk": True}):
            # What is dropped shifts the reference's offsets of all that follows.
            case(f"marks: {name}, {model}", words, tokens=use[0], merges=use[1], model=model,
                 spans=model != {"byte_fallback": False}, normalizer=spaces)
    case("prefix and suffix", ["abc", "a", "ab c"], tokens=["a", "##b", "##c</w>", "ab", "a</w>"],
         merges=["a ##b"], model={"continuing_subword_prefix": "##", "end_of_word_suffix": "</w>"},
         spans=False, pre_tokenizer={"type": "WhitespaceSplit"})


def decoders():
    letters = alphabet()
    byte_ids = [[256 + byte for byte in text] for text in (
        b"ab \xc3\xa9", b"\xc3", b"\xa9\xc3\xc3\xa9", b"\xf0\x9f\x98", b"\xf0\x9f\x98\x80\xf0\x9f",
        b"\xed\xa0\x80\xc0\x80\xf5", b"a\xe2\x82", b"")]
    special = [added(512, "<s>", "special"), added(513, "<t\u00e9>")]
    between = [[*byte_ids[1], 512, *byte_ids[0]], [256 + 0xC3, 513, 256 + 0xA9], [512, 512], [999]]
    case("decoder ByteLevel", decode=byte_ids + between, tokens=letters, added_tokens=special,
         decoder=byte_level())
    ids = [[257, 258, 0xC3, 0xA9], [0xC3, 257, 0xA9, 0xC3, 0x41], [256, 256, 258, 256], [260, 256],
           [0xE2, 0x82, 260, 0xAC], [261, 258, 261], [], [97, 98]]
    tokens = [MARK, MARK + "a", "b", "a" + MARK + MARK + "b</w>"]
    steps = {
        "none": None,
        "ByteFallback": {"type": "ByteFallback"},
        "Fuse": {"type": "Fuse"},
        "BPEDecoder": {"type": "BPEDecoder", "suffix": "</w>"},
        **{f"Strip {start} {stop}": {"type": "Strip", "content": "a", "start": start, "stop": stop}
           for start, stop in ((1, 0), (0, 1), (2, 2))},
        **{f"Metaspace {scheme}": {"type": "Metaspace", "replacement": MARK,
                                   "prepend_scheme": scheme, "split": True}
           for scheme in ("first", "always", "never")},
        "Replace": {"type": "Replace", "pattern": {"String": MARK}, "content": "__"},
        "Replace by regex": {"type": "Replace", "pattern": {"Regex": f"{MARK}+|b$"}, "content": ""},
        "Sequence": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": MARK}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
    }
    for name, step in steps.items():
        case(f"decoder {name}", decode=ids, tokens=tokens, decoder=step,
             added_tokens=[added(260, "<s>", "special"), added(261, f"<{MARK}>")])


def main():
    for part in (splits, pre_tokenizers, byte_levels, metaspaces, added_tokens, normalizers,
                 post_processors, models, decoders):
        part()
    path = Path(__file__).with_name("components.jsonl.gz")
    lines = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in CASES)
    path.write_bytes(gzip.compress(lines.encode("ascii"), mtime=0))
    print(f"tokenizers {tokenizers.__version__}: {len(CASES)} tokenizers, {len(lines)} bytes")


if __name__ == "__main__":
    main()
