#pragma once

#include "aligned_text.h"

namespace nibble::text {

enum class NormalizationForm { kNfc, kNfd, kNfkc, kNfkd };

/// Normalization as of Unicode 9, the version of the reference: later characters stay as they are
/// and keep apart what stands around them. A changed run of characters takes, as a whole, the
/// origin of the run it came from.
void normalize_unicode(AlignedText& text, NormalizationForm form);

}  // namespace nibble::text
