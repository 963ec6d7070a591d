#pragma once

#include <nibble/text/tokenizer.h>

#include <cstdint>
#include <string>
#include <vector>

namespace nibble::text {

/// Tokenizer::decode() for tokens that come one by one, special tokens skipped: the pieces joined
/// are the text of all tokens, and each piece is whole characters. A token costs the decoding of a
/// few before it, not of all.
class StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer) : tokenizer_(std::move(tokenizer)) {}

  /// What `token` adds: nothing while a character lacks bytes. Bytes that may yet turn out not to
  /// be a character are held back too.
  std::string push(int64_t token);
  /// The rest: U+FFFD where a character has remained without its last bytes. Begins anew.
  std::string finish();

 private:
  std::string window_text() const;
  void shorten_window();

  Tokenizer tokenizer_;
  std::vector<int64_t> window_;  ///< the last tokens; what they decode to is that of all but for
                                 ///< a beginning given out already
  size_t given_ = 0;             ///< bytes of the window's text that were given out
};

}  // namespace nibble::text
