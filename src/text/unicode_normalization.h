#pragma once

#include "aligned_text.h"

namespace nibble::text {

enum class NormalizationForm { kNfc, kNfd, kNfkc, kNfkd };

/// Unicode normalization. A changed run of characters takes, as a whole, the origin of the run it
/// came from.
void normalize_unicode(AlignedText& text, NormalizationForm form);

}  // namespace nibble::text
