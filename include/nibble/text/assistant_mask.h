#pragma once

#include <nibble/text/chat_template.h>
#include <nibble/text/tokenizer.h>

#include <vector>

namespace nibble::text {

/// For each token of `encoding`, made from `chat.text`, whether the assistant wrote it, as
/// transformers' apply_chat_template(return_assistant_tokens_mask=True) decides: of each generation
/// span, the tokens from the one that holds the first character through the one in which the last
/// character begins. A token that straddles the start belongs to the mask.
/// Source: transformers 5.23, tokenization_utils_base.py; where its token lookup finds nothing for
/// the start of a span it leaves the remaining spans out, where it finds nothing, or token 0, for
/// the end it masks to the end of the text, and so does this. An empty span at the very beginning,
/// on which it fails, marks nothing.
std::vector<bool> assistant_mask(const RenderedChat& chat, const Encoding& encoding);

}  // namespace nibble::text
