"""torch.ops.nibble.fake_quantized_linear where a weight moves between devices."""

import unittest

import torch

from op_test_case import OpTestCase, ops


@unittest.skipUnless(torch.cuda.is_available(), "no CUDA device")
class LinearCudaTest(OpTestCase):
    def test_a_weight_that_moves_is_quantized_where_it_is(self):
        def linear():
            x_here = x.to(module.weight.device)
            return ops.fake_quantized_linear(x_here, module.weight, None, 32, True, torch.float32)

        x = torch.randn(24, 128)
        module = torch.nn.Module()
        module.weight = torch.nn.Parameter(torch.randn(32, 128))
        expected = linear()
        module.cuda()
        torch.testing.assert_close(linear().cpu(), expected, rtol=1e-4, atol=1e-3)
        module.cpu()
        self.assert_same_bits(linear(), expected)


if __name__ == "__main__":
    unittest.main()
