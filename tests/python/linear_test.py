"""torch.ops.nibble.fake_quantized_linear as a node of PyTorch's graph: what it keeps, and whether
checkpointed activations and moved weights still give its gradients."""

import unittest

import torch
from torch.utils.checkpoint import checkpoint

from op_test_case import OpTestCase, ops

TOKENS, OUT, IN, GROUP = 24, 32, 128, 32
SYMMETRIC, AFFINE = (True, torch.float32), (False, torch.bfloat16)


def saved_by(function):
    """The tensors that autograd keeps for the backward of `function()`, one a storage."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = function()
    return result, kept


def described(tensors):
    return sorted((str(t.dtype), tuple(t.shape)) for t in tensors)


def leaves():
    return (torch.randn(TOKENS, IN, requires_grad=True), torch.randn(OUT, IN, requires_grad=True),
            torch.randn(OUT, requires_grad=True))


def linear(x, weight, bias, grid):
    return ops.fake_quantized_linear(x, weight, bias, GROUP, *grid)


class LinearTest(OpTestCase):
    def test_keeps_the_input_half_a_byte_and_a_bit_a_weight(self):
        for grid in (SYMMETRIC, AFFINE):
            x, weight, bias = leaves()
            _, kept = saved_by(lambda: linear(x, weight, bias, grid))
            scale_dtype = str(grid[1])
            expected = [("torch.float32", (TOKENS, IN)), ("torch.uint8", (OUT, IN // 2)),
                        ("torch.uint8", (OUT, IN // 8)), (scale_dtype, (OUT, IN // GROUP))]
            if grid == AFFINE:
                expected.append((scale_dtype, (OUT, IN // GROUP)))  # zeros
            self.assertEqual(described(kept.values()), sorted(expected))
            self.assertIn(x.untyped_storage().data_ptr(), kept, "a second copy of the input")

    def test_keeps_nothing_that_no_gradient_needs(self):
        x, weight, _ = leaves()
        _, kept = saved_by(lambda: linear(x, weight.detach(), None, SYMMETRIC))
        self.assertEqual(described(kept.values()), [
            ("torch.float32", (OUT, IN // GROUP)), ("torch.uint8", (OUT, IN // 2))])
        _, kept = saved_by(lambda: linear(x.detach(), weight, None, SYMMETRIC))
        self.assertEqual(described(kept.values()), [
            ("torch.float32", (TOKENS, IN)), ("torch.float32", (OUT, IN // GROUP)),
            ("torch.uint8", (OUT, IN // 8))])

    def test_one_quantized_activation_is_kept_once_by_all_that_share_it(self):
        x, weight, _ = leaves()
        others = [torch.randn(OUT, IN, requires_grad=True) for _ in range(2)]

        def projections():
            fq = ops.fake_quantize_activation(x)
            return [linear(fq, w, None, SYMMETRIC) for w in (weight, *others)]

        _, kept = saved_by(projections)
        inputs = [t for t in kept.values() if t.numel() == TOKENS * IN and t.dtype == x.dtype]
        bits = [t for t in kept.values() if tuple(t.shape) == (TOKENS, IN // 8)]
        self.assertEqual((len(inputs), len(bits)), (1, 1))

    def test_hooks_that_move_what_is_kept_change_no_gradient(self):
        x, weight, bias = leaves()
        linear(x, weight, bias, SYMMETRIC).square().sum().backward()
        expected = [t.grad.clone() for t in (x, weight, bias)]
        for leaf in (x, weight, bias):
            leaf.grad = None
        with torch.autograd.graph.save_on_cpu():
            result = linear(x, weight, bias, SYMMETRIC)
        result.square().sum().backward()
        for leaf, gradient in zip((x, weight, bias), expected):
            self.assert_same_bits(leaf.grad, gradient)

    def test_checkpointed_activations_give_the_same_gradients(self):
        def block(x, weight, bias):
            return linear(ops.fake_quantize_activation(x), weight, bias, SYMMETRIC).tanh()

        x, weight, bias = leaves()
        block(x, weight, bias).square().sum().backward()
        expected = [t.grad.clone() for t in (x, weight, bias)]
        for reentrant in (False, True):
            for leaf in (x, weight, bias):
                leaf.grad = None
            output = checkpoint(block, x, weight, bias, use_reentrant=reentrant)
            output.square().sum().backward()
            for leaf, gradient in zip((x, weight, bias), expected):
                self.assert_same_bits(leaf.grad, gradient, f"reentrant={reentrant}")

    def test_the_quantized_one_gives_the_values_and_gradients_of_its_dequantized_weight(self):
        for grid in (SYMMETRIC, AFFINE):
            x, weight, bias = leaves()
            codes, scales, zeros = ops.quantize_weight(weight.detach(), GROUP, *grid)
            packed = ops.pack_int4(codes, grid[0])
            values = ops.dequantize_packed_weight(packed, scales, zeros, IN, grid[0], x.dtype)
            expected = torch.nn.functional.linear(x, values, bias)
            actual = ops.quantized_linear(x, packed, scales, zeros, bias, grid[0])
            self.assert_same_bits(actual, expected)
            expected.square().sum().backward()
            gradients = [x.grad.clone(), bias.grad.clone()]
            x.grad = bias.grad = None
            actual.square().sum().backward()
            self.assert_same_bits(x.grad, gradients[0])
            self.assert_same_bits(bias.grad, gradients[1])


if __name__ == "__main__":
    unittest.main()
