#pragma once

namespace nibble {

/// Lets malloc keep what a training step frees for the next one, up to 2 GiB, where it would give
/// every larger block back to the system and meet it again page by page, at a fifth of a step's
/// time. For programs, once, before they allocate much; the library leaves its user's allocator
/// alone. No effect with another malloc than glibc's.
void keep_freed_memory();

}  // namespace nibble
