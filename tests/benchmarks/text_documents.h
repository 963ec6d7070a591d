#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace nibble::benchmarks {

/// The documents of a text file, as tokenizer_peer.py reads them too. Of a .jsonl file each line is
/// one: the strings in it, wherever they stand, joined by line feeds. Any other file is cut behind
/// the line feed that makes a document `document_bytes` long or longer.
/// Throws Error for a file that cannot be read or holds no document.
std::vector<std::string> read_documents(const std::filesystem::path& path, size_t document_bytes);

}  // namespace nibble::benchmarks
