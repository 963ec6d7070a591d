#!/usr/bin/env python3
"""Rules that no compiler checks: `lint.py ROOT` prints each violation as FILE:LINE: message."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

# The layers and what each may include besides itself (docs/architecture.md).
EDGES = {
    "core": [],
    "numerics": ["core"],
    "kernels": ["core", "numerics"],
    "ops": ["core", "numerics", "kernels"],
    "nn": ["core", "numerics", "ops"],
    "io": ["core", "numerics"],
    "tensor_io": ["core", "io"],
    "quantization": ["core", "numerics", "ops", "nn", "io", "tensor_io"],
    "models": ["core", "ops", "nn", "io", "tensor_io"],
    "text": ["core", "io"],
    "data": ["core", "text", "io"],
    "distributed": ["core"],
    "eval": ["core", "models", "text", "data", "quantization", "io", "tensor_io"],
}
EDGES["train"] = list(EDGES)
EDGES["apps"] = list(EDGES)

TORCH_FREE = {"core", "numerics", "kernels", "io", "text", "data"}
TORCH = r"(torch|ATen|c10|caffe2)/"
CUDA = r"(cuda|cublas|curand|nccl|cub/|thrust/|cooperative_groups|(c10|ATen)/cuda/)"

CXX_SUFFIXES = {".h", ".cpp", ".cu", ".cuh", ".inl", ".inc"}
SOURCE_SUFFIXES = CXX_SUFFIXES | {".py", ".sh", ".cmake", ".in", ".yaml"}
TEXT_SUFFIXES = SOURCE_SUFFIXES | {".md", ".txt", ".json"}
FOLDERS = ["include", "src", "kernels", "tests", "examples", "configs", "docs", ".ci"]
README_LINES = 150

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
# Comments, raw strings, strings and characters: what the search for calls must not see.
NOT_CODE = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<mark>[^\s()\\]*)\(.*?\)(?P=mark)"'
    r'|"(?:\\.|[^"\\\n])*"|(?<![0-9A-Fa-f])\'(?:\\.|[^\'\\\n])+\'',
    re.DOTALL,
)
FORBIDDEN_CALLS = [
    (re.compile(r"\b(abort|_?exit|quick_exit|assert)\s*\("), "throw with NIBBLE_CHECK or nibble::fail"),
    (re.compile(r"\bstd::(cout|cerr|clog)\b"), "write through core/log.h or to a stream parameter"),
    (re.compile(r"\b(v?f?printf|puts|putchar)\s*\("), "write through core/log.h or to a stream parameter"),
]
MACHINE_PATH = re.compile(r"(?<![\w.$}/])/(?:work|root|home|tmp)/\w")
LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass
class SourceFile:
    path: Path  # relative to the root
    text: str

    @property
    def layer(self):
        """The layer a library file or program belongs to, or None."""
        parts = self.path.parts
        if parts[0] == "kernels":
            return "kernels"
        if parts[0] == "src" and len(parts) > 2:
            return parts[1]
        if parts[:2] == ("include", "nibble") and len(parts) > 3:
            return parts[2]
        return None

    @property
    def is_cxx(self):
        return self.path.suffix in CXX_SUFFIXES

    @property
    def is_public(self):
        return self.path.parts[0] == "include"

    def includes(self):
        """Yields (line number, '<' or '"', name)."""
        for number, line in enumerate(self.text.splitlines(), 1):
            match = INCLUDE.match(line)
            if match:
                yield number, match[1], match[2]

    def code(self):
        """The text without comments and literals, line numbers kept."""
        return NOT_CODE.sub(lambda match: "\n" * match[0].count("\n"), self.text)


def read_tree(root):
    """The project's text files: build folders and binary files are never looked at."""
    paths = [path for path in root.iterdir() if path.is_file()]
    for folder in FOLDERS:
        paths += (path for path in (root / folder).rglob("*") if path.is_file())
    files = []
    for path in sorted(paths):
        if path.suffix in TEXT_SUFFIXES or path.name in ("run", "LICENSE"):
            files.append(SourceFile(path.relative_to(root), path.read_text(encoding="utf-8")))
    return files


def check_edges(file, root):
    """Layers include only the layers below them that the table names."""
    if not file.is_cxx or file.layer is None:
        return
    if file.layer not in EDGES:
        yield 1, f"'{file.layer}' is no layer; the layers are {', '.join(EDGES)}"
        return
    allowed = {file.layer, *EDGES[file.layer]}
    for number, quote, name in file.includes():
        parts = name.split("/")
        if parts[0] == "nibble":
            target = parts[1] if len(parts) > 2 else name
        elif quote == '"':
            target = layer_of_private_include(file, name, root)
        else:
            continue
        if target not in allowed:
            yield number, f"{file.layer} must not include {target} ({name})"


def layer_of_private_include(file, name, root):
    found = (root / file.path.parent / name).resolve()
    if found.is_file() and found.is_relative_to(root.resolve()):
        return SourceFile(found.relative_to(root.resolve()), "").layer
    return file.layer  # relative to an include folder of its own layer


def check_forbidden_includes(file, root):
    if not file.is_cxx or file.layer is None:
        return
    in_train = file.path.parts[:2] == ("src", "train")
    in_log = file.path.as_posix() == "src/core/log.cpp"
    for number, _, name in file.includes():
        if file.is_public and name == "torch/torch.h":
            yield number, "torch/torch.h costs every user 18 s: name the narrow headers"
        if file.layer in TORCH_FREE and re.match(TORCH, name):
            yield number, f"{file.layer} is torch-free ({name})"
        if file.is_public and re.match(CUDA, name):
            yield number, f"no CUDA header in a public header ({name})"
        if name.startswith("yaml-cpp/") and not in_train:
            yield number, "yaml-cpp belongs to src/train only"
        if re.match(r"(spdlog|fmt)/", name) and not in_log:
            yield number, "spdlog and fmt belong to src/core/log.cpp only"


def check_forbidden_calls(file, root):
    """A library throws and logs; it never ends the process or writes to the terminal."""
    if not file.is_cxx or file.layer in (None, "apps"):
        return
    for number, line in enumerate(file.code().splitlines(), 1):
        for pattern, instead in FORBIDDEN_CALLS:
            match = pattern.search(line)
            if match:
                yield number, f"'{match[0]}' in the library: {instead}"


def check_ascii(file, root):
    if file.path.suffix not in SOURCE_SUFFIXES and file.path.name != "CMakeLists.txt":
        return
    for number, line in enumerate(file.text.splitlines(), 1):
        if not line.isascii():
            yield number, f"not ASCII: {ascii(line.strip())[:60]}"


def check_machine_paths(file, root):
    if file.path.parts[:2] == ("tests", "lint"):
        return  # plants them
    for number, line in enumerate(file.text.splitlines(), 1):
        match = MACHINE_PATH.search(line)
        if match:
            yield number, f"a path of one machine: {line[match.start():match.start() + 40]}"


def check_mirrors(files):
    """One stem names a thing everywhere: fake_quant.h is implemented by fake_quant.cpp.

    A source implements the header of its own stem, else its first include. A header may have
    further sources (fake_quant_backward.cu) beside the one of its name.
    """
    sources_of = {}
    for file in files:
        if file.path.suffix in (".cpp", ".cu") and file.layer not in (None, "apps"):
            headers = [name for _, _, name in file.includes()]
            own = [name for name in headers if Path(name).stem == file.path.stem]
            header = (own + headers + [""])[0]
            if header.startswith(f"nibble/{file.layer}/"):
                sources_of.setdefault(header, []).append(file)
    for header, sources in sources_of.items():
        stem = Path(header).stem
        named = [f.path.stem for f in sources]
        if not any(name.startswith(stem) or stem.startswith(name) for name in named):
            yield sources[0], 1, f"implements {header}: the stem should be '{stem}'"


def check_documents(file, root):
    """The README stays short, and relative links in documents lead somewhere."""
    if file.path.suffix != ".md":
        return
    lines = file.text.splitlines()
    if file.path.as_posix() == "README.md" and len(lines) >= README_LINES:
        yield README_LINES, f"the README has {len(lines)} lines; it stays under {README_LINES}"
    for number, line in enumerate(lines, 1):
        for target in LINK.findall(line):
            path = target.split("#")[0]
            if path and "://" not in path and not target.startswith("mailto:"):
                if not (root / file.path.parent / path).exists():
                    yield number, f"the link leads nowhere: {target}"


CHECKS = [
    check_edges,
    check_forbidden_includes,
    check_forbidden_calls,
    check_ascii,
    check_machine_paths,
    check_documents,
]


def violations(root):
    """All violations below `root` as 'FILE:LINE: message'."""
    files = read_tree(root)
    found = [(file, *hit) for file in files for check in CHECKS for hit in check(file, root)]
    found += check_mirrors(files)
    return [f"{file.path.as_posix()}:{number}: {message}" for file, number, message in found]


def main():
    found = violations(Path(sys.argv[1]))
    print("\n".join(found) or "lint: no violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
