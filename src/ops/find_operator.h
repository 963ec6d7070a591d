#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

namespace nibble::ops {

/// The dispatcher's operator of that name ("nibble::...").
template <class Signature>
auto find_operator(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

}  // namespace nibble::ops
