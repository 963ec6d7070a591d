#pragma once

#include "jinja_value.h"

namespace nibble::text::jinja {

/// The functions every chat template may call: range, dict, namespace, joiner,
/// raise_exception, strftime_now.
const DictObject& globals();

}  // namespace nibble::text::jinja
