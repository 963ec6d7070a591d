#pragma once

namespace nibble {

/// Lets malloc keep what a training step frees for the next one, up to 1 GiB, where it would give
/// every block above some 100 KiB back to the system and meet it page by page again: a third of the
/// page faults and a tenth of the time of a step. For programs, once, before they allocate much;
/// the library leaves its user's allocator alone. No effect with another malloc than glibc's.
void keep_freed_memory();

}  // namespace nibble
