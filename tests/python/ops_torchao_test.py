"""The operators against TorchAO's own fake quantizers, bit for bit, forward and backward."""

import itertools
import unittest

import torch

from op_test_case import OpTestCase, gradient, ops

TORCHAO_VERSION = "0.18.0"

try:
    import torchao
    from torchao.quantization.qat import (Int4WeightOnlyQATQuantizer,
                                          Int8DynActInt4WeightQATQuantizer)
    from torchao.quantization.utils import groupwise_affine_quantize_tensor
    problem = None
except Exception as error:  # a broken installation may raise anything
    problem = f"torchao cannot be imported: {error}"


def setUpModule():
    reason = problem
    if reason is None and torchao.__version__.split("+")[0] != TORCHAO_VERSION:
        reason = f"torchao is {torchao.__version__}, the formulas are those of {TORCHAO_VERSION}"
    if reason is not None:
        raise unittest.SkipTest(reason)


DTYPES = (torch.float32, torch.bfloat16)
GROUP_SIZES = (32, 64, 128, 256)
WEIGHT_SHAPES = ((1, 256), (7, 512), (32, 768))
ACTIVATION_SHAPES = ((64,), (5, 64), (2, 3, 192), (1, 4, 2, 40))


def random_weight(shape, dtype):
    """Rows of different size, one of them zero, one of small subnormal-prone values."""
    weight = torch.randn(shape) * torch.logspace(-3, 2, shape[0]).unsqueeze(1)
    if shape[0] > 2:
        weight[0] = 0
        weight[1] *= 1e-30
    return weight.to(dtype)


def random_tokens(shape, dtype):
    x = torch.randn(shape) * torch.logspace(-2, 2, shape[-1])
    return x.abs().to(dtype) if len(shape) == 1 else x.to(dtype)  # one whose minimum is not used


def prepared(quantizer, weight):
    """TorchAO's QAT Linear with this weight."""
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
    linear.weight = torch.nn.Parameter(weight.clone())
    return quantizer.prepare(torch.nn.Sequential(linear))


def weight_cases(scale_dtypes):
    for shape, dtype, group, scales in itertools.product(WEIGHT_SHAPES, DTYPES, GROUP_SIZES,
                                                         scale_dtypes):
        yield dict(shape=shape, dtype=dtype, group=group, scales=scales)


class TorchAOTest(OpTestCase):
    def assert_same_function(self, ours, theirs, tensor):
        """Bitwise equal results and gradients."""
        self.assert_same_bits(ours(tensor), theirs(tensor).detach(), "forward")
        upstream = torch.randn_like(tensor)
        self.assert_same_bits(gradient(ours, tensor, upstream), gradient(theirs, tensor, upstream),
                              "gradient")

    def test_8da4w_weights(self):
        for case in weight_cases((torch.float32, torch.bfloat16)):
            with self.subTest(**case):
                weight = random_weight(case["shape"], case["dtype"])
                quantizer = Int8DynActInt4WeightQATQuantizer(
                    groupsize=case["group"], scales_precision=case["scales"])
                model = prepared(quantizer, weight)
                self.assert_same_function(
                    lambda w: ops.fake_quantize_weight(w, case["group"], True, case["scales"]),
                    model[0].weight_fake_quantizer, weight)

                converted = quantizer.convert(model)[0]
                codes, scales, _ = ops.quantize_weight(weight, case["group"], True, case["scales"])
                self.assert_same_bits(codes, converted.weight, "codes")
                self.assert_same_bits(scales, converted.scales, "scales")

    def test_8da4w_activations(self):
        fake_quantizer = prepared(Int8DynActInt4WeightQATQuantizer(groupsize=32),
                                  torch.randn(8, 32))[0].activation_fake_quantizer
        for shape, dtype in itertools.product(ACTIVATION_SHAPES, DTYPES):
            with self.subTest(shape=shape, dtype=dtype):
                x = random_tokens(shape, dtype)
                self.assert_same_function(ops.fake_quantize_activation, fake_quantizer, x)
                fake_quantizer(x)
                _, scales, zeros = ops.quantize_activation(x)
                self.assert_same_bits(scales, fake_quantizer.scale.reshape(scales.shape), "scales")
                self.assert_same_bits(zeros, fake_quantizer.zero_point.reshape(zeros.shape),
                                      "zeros")

    def test_4w_weights(self):
        for case in weight_cases((torch.bfloat16,)):
            with self.subTest(**case):
                weight = random_weight(case["shape"], case["dtype"])
                model = prepared(
                    Int4WeightOnlyQATQuantizer(groupsize=case["group"], inner_k_tiles=2), weight)
                self.assert_same_function(
                    lambda w: ops.fake_quantize_weight(w, case["group"], False, torch.bfloat16),
                    model[0].weight_fake_quantizer, weight)

                # What TorchAO's convert() packs for the kernel of this processor.
                codes, scales_and_zeros = groupwise_affine_quantize_tensor(weight, 4, case["group"])
                expected = scales_and_zeros.transpose(0, 1)
                ours = ops.quantize_weight(weight, case["group"], False, torch.bfloat16)
                self.assertTrue(torch.equal(ours[0].int(), codes), "codes")
                self.assert_same_bits(ours[1], expected[..., 0].contiguous(), "scales")
                self.assert_same_bits(ours[2], expected[..., 1].contiguous(), "zeros")

    def test_the_whole_8da4w_layer(self):
        for dtype in DTYPES:
            with self.subTest(dtype=dtype):
                weight, x = random_weight((16, 256), dtype), torch.randn(3, 5, 256).to(dtype)
                quantizer = Int8DynActInt4WeightQATQuantizer(groupsize=64)
                layer = prepared(quantizer, weight)

                def ours(tokens):
                    return torch.nn.functional.linear(
                        ops.fake_quantize_activation(tokens),
                        ops.fake_quantize_weight(weight, 64, True, torch.float32))

                expected = layer(x).detach()
                self.assert_same_bits(ours(x), expected, "forward")
                upstream = torch.randn_like(expected)
                self.assert_same_bits(gradient(ours, x, upstream), gradient(layer, x, upstream),
                                      "gradient")
                self.assert_same_bits(ours(x), quantizer.convert(layer)(x).detach(), "converted")


if __name__ == "__main__":
    unittest.main()
