"""Loads the operators for the tests of this folder. NIBBLE_OPS_LIBRARY is libnibble_ops.so."""

import os
import unittest

import torch

torch.ops.load_library(os.environ["NIBBLE_OPS_LIBRARY"])
ops = torch.ops.nibble

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
BITS = {torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float16: torch.int16}


class OpTestCase(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(sum(map(ord, self.id())))
        torch.set_num_threads(1)  # the tensors are small

    def assert_same_bits(self, actual, expected, what=""):
        """Equal shapes, dtypes and bits, so that -0 is not 0."""
        self.assertEqual(actual.shape, expected.shape, what)
        self.assertEqual(actual.dtype, expected.dtype, what)
        bits = BITS.get(expected.dtype, expected.dtype)
        differ = (actual.contiguous().view(bits) != expected.contiguous().view(bits)).sum().item()
        self.assertEqual(differ, 0, f"{what}: {differ} of {expected.numel()} elements differ")


def gradient(function, tensor, upstream):
    """The gradient of `function` at `tensor` for the gradient `upstream` of its output."""
    leaf = tensor.detach().clone().requires_grad_()
    function(leaf).backward(upstream)
    return leaf.grad
