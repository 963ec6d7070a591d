#pragma once

#include <cstdint>
#include <filesystem>

namespace nibble::testing {

/// Widths of the tiny model. Group sizes 32 and 64 fit every Linear.
inline constexpr int64_t kTinyHidden = 64;
inline constexpr int64_t kTinyVocabulary = 300;

/// Writes a random Llama of two layers with tied embeddings as the Hugging Face directory `path`:
/// grouped-query attention, byte-level tokenizer, ChatML template. The same seed gives the same
/// bytes.
void write_tiny_model(const std::filesystem::path& path, uint64_t seed = 0);

/// Writes `rows` instruction rows (instruction, input, output) as JSON Lines: the answer repeats
/// the input's word, so that a few steps already lower the loss. `first` shifts the words.
void write_tiny_rows(const std::filesystem::path& path, int64_t rows, int64_t first = 0);

}  // namespace nibble::testing
