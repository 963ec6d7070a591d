"""torch.ops.nibble.* as a Python program sees them."""

import unittest

import torch

from op_test_case import DTYPES, OpTestCase, gradient, ops

WEIGHT = "Tensor weight, int group_size, bool symmetric, ScalarType scale_dtype"
SCHEMAS = {
    "fake_quantize_weight": f"({WEIGHT}, ScalarType? value_dtype=None) -> Tensor",
    "fake_quantize_activation": "(Tensor x, ScalarType? value_dtype=None) -> Tensor",
    "fake_quantized_linear": "(Tensor x, Tensor weight, Tensor? bias, int group_size, "
                             "bool symmetric, ScalarType scale_dtype) -> Tensor",
    "dequantize_packed_weight": "(Tensor packed, Tensor scales, Tensor? zeros, int cols, "
                                "bool symmetric, ScalarType dtype) -> Tensor",
    "quantized_linear": "(Tensor x, Tensor packed, Tensor scales, Tensor? zeros, Tensor? bias, "
                        "bool symmetric) -> Tensor",
    "int8_linear": "(Tensor x_codes, Tensor x_scales, Tensor x_zeros, Tensor packed, "
                   "Tensor scales, Tensor? bias, ScalarType dtype) -> Tensor",
    "int8_dynamic_quantized_linear": "(Tensor x, Tensor packed, Tensor scales, Tensor? bias) "
                                     "-> Tensor",
    "int8_weight_linear": "(Tensor x, Tensor codes, Tensor scales, Tensor? bias) -> Tensor",
    "quantize_weight": f"({WEIGHT}) -> (Tensor codes, Tensor scales, Tensor zeros)",
    "quantize_activation": "(Tensor x) -> (Tensor codes, Tensor scales, Tensor zeros)",
    "dequantize_weight": "(Tensor codes, Tensor scales, Tensor? zeros, bool symmetric, "
                         "ScalarType dtype) -> Tensor",
    "pack_int4": "(Tensor codes, bool symmetric) -> Tensor",
    "unpack_int4": "(Tensor packed, int cols, bool symmetric) -> Tensor",
}
# What opcheck runs. Not test_aot_dispatch_dynamic: fake quantization with a gradient is an
# autograd function in C++, which torch.compile does not trace.
CHECKS = ("test_schema", "test_autograd_registration", "test_faketensor")

GRIDS = ((True, torch.float32), (True, torch.bfloat16), (False, torch.bfloat16))


def weights(dtype=torch.float32):
    return torch.randn(6, 64).to(dtype)


def sample_calls(dtype=torch.float32):
    """(name, arguments) of every operator on both grids; tensors of rank 1 to 4."""
    for symmetric, scale_dtype in GRIDS:
        weight = weights(dtype)
        codes, scales, zeros = ops.quantize_weight(weight, 32, symmetric, scale_dtype)
        yield "fake_quantize_weight", (weight, 32, symmetric, scale_dtype)
        yield "fake_quantize_weight", (weight, 32, symmetric, scale_dtype, torch.bfloat16)
        yield "quantize_weight", (weight, 32, symmetric, scale_dtype)
        yield "dequantize_weight", (codes, scales, zeros, symmetric, dtype)
        yield "pack_int4", (codes, symmetric)
        yield "unpack_int4", (ops.pack_int4(codes, symmetric), 64, symmetric)
        yield "pack_int4", (codes[:, :63].contiguous(), symmetric)
        yield "unpack_int4", (ops.pack_int4(codes[:, :63], symmetric), 63, symmetric)
        packed = ops.pack_int4(codes, symmetric)
        yield "dequantize_packed_weight", (packed, scales, zeros, 64, symmetric, dtype)
        x = torch.randn(2, 3, 64).to(dtype)
        for bias in (None, torch.randn(6).to(dtype)):
            yield "fake_quantized_linear", (x, weight, bias, 32, symmetric, scale_dtype)
            yield "quantized_linear", (x, packed, scales, zeros, bias, symmetric)
            if symmetric:
                yield "int8_linear", (*ops.quantize_activation(x), packed, scales, bias, dtype)
                yield "int8_dynamic_quantized_linear", (x, packed, scales, bias)
    yield "dequantize_weight", (codes, scales, None, True, dtype)
    yield "int8_weight_linear", (x, codes, torch.rand(6, 1), torch.randn(6).to(dtype))
    for shape in ((64,), (5, 64), (2, 3, 64), (2, 1, 3, 7), (0, 64)):
        yield "fake_quantize_activation", (torch.randn(shape).to(dtype),)
        yield "quantize_activation", (torch.randn(shape).to(dtype),)


def on(device, arguments):
    return [x.to(device) if isinstance(x, torch.Tensor) else x for x in arguments]


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


class OpsTest(OpTestCase):
    def test_schemas(self):
        for name, schema in SCHEMAS.items():
            self.assertEqual(str(getattr(ops, name).default._schema), f"nibble::{name}{schema}")

    def test_every_operator_is_sampled(self):
        self.assertEqual({name for name, _ in sample_calls()}, set(SCHEMAS))

    def test_opcheck(self):
        for name, arguments in sample_calls():
            with self.subTest(name, shape=tuple(arguments[0].shape)):
                torch.library.opcheck(getattr(ops, name).default, arguments, test_utils=CHECKS)
        leaf = weights().requires_grad_()
        for name, arguments in (("fake_quantize_weight", (leaf, 32, True, torch.float32)),
                                ("fake_quantize_activation", (leaf,))):
            with self.subTest(name, grad=True):
                torch.library.opcheck(getattr(ops, name).default, arguments, test_utils=CHECKS)

    def test_meta_tensors_get_the_shapes_and_dtypes_of_the_cpu(self):
        for dtype in DTYPES:
            for name, arguments in sample_calls(dtype):
                with self.subTest(name, dtype=dtype, shape=tuple(arguments[0].shape)):
                    operator = getattr(ops, name)
                    expected = as_tuple(operator(*arguments))
                    actual = as_tuple(operator(*on("meta", arguments)))
                    self.assertEqual(len(actual), len(expected))
                    for meta, real in zip(actual, expected):
                        self.assertTrue(meta.is_meta)
                        self.assertEqual((meta.shape, meta.dtype), (real.shape, real.dtype))

    def test_compiled_inference_equals_eager(self):
        def forward(x, weight):
            fq = ops.fake_quantize_weight(weight, 32, True, torch.float32)
            return torch.nn.functional.linear(ops.fake_quantize_activation(x), fq)

        x, weight = torch.randn(3, 64), weights()
        compiled = torch.compile(forward, backend="aot_eager", fullgraph=True)
        with torch.no_grad():
            self.assert_same_bits(compiled(x, weight), forward(x, weight))

    def test_codes_and_scales_give_the_fake_quantized_values(self):
        for dtype in DTYPES:
            for symmetric, scale_dtype in GRIDS:
                with self.subTest(dtype=dtype, symmetric=symmetric, scale_dtype=scale_dtype):
                    weight = weights(dtype)
                    arguments = (32, symmetric, scale_dtype)
                    codes, scales, zeros = ops.quantize_weight(weight, *arguments)
                    low, high = (-8, 7) if symmetric else (0, 15)
                    self.assertGreaterEqual(codes.min().item(), low)
                    self.assertLessEqual(codes.max().item(), high)
                    self.assert_same_bits(
                        ops.dequantize_weight(codes, scales, zeros, symmetric, dtype),
                        ops.fake_quantize_weight(weight, *arguments))
                    packed = ops.pack_int4(codes, symmetric)
                    self.assertEqual(tuple(packed.shape), (6, 32))
                    self.assertTrue(torch.equal(ops.unpack_int4(packed, 64, symmetric), codes))
            x = torch.randn(2, 5, 64).to(dtype)
            codes, scales, zeros = ops.quantize_activation(x)
            value = (codes.float() - zeros.unsqueeze(-1)) * scales.unsqueeze(-1)
            self.assert_same_bits(ops.fake_quantize_activation(x), value.to(dtype))

    def test_gradients_are_straight_through_inside_the_range(self):
        weight, x = weights(), torch.randn(5, 64)
        upstream = torch.randn(6, 64)
        for symmetric, scale_dtype in GRIDS:
            actual = gradient(
                lambda w: ops.fake_quantize_weight(w, 32, symmetric, scale_dtype), weight, upstream)
            passes = actual != 0
            self.assertLess((~passes).sum().item(), 20, "clipped")
            # (g * s) * (1 / s) is g up to the rounding of 1 / s.
            torch.testing.assert_close(actual[passes], upstream[passes], rtol=1e-2, atol=0)
        torch.testing.assert_close(
            gradient(ops.fake_quantize_activation, x, upstream[:5]), upstream[:5], rtol=1e-6, atol=0)

    def test_no_gradient_where_none_is_asked_for(self):
        leaf = weights().requires_grad_()
        self.assertFalse(ops.fake_quantize_weight(weights(), 32, True, torch.float32).requires_grad)
        with torch.no_grad():
            self.assertFalse(ops.fake_quantize_activation(leaf).requires_grad)
        with self.assertRaisesRegex(RuntimeError, "cannot be differentiated again"):
            torch.autograd.grad(ops.fake_quantize_activation(leaf).sum(), leaf, create_graph=True)

    def test_inputs_that_are_not_contiguous(self):
        wide = torch.randn(6, 128)
        for view in (wide[:, 32:96], torch.randn(64, 6).t(), torch.randn(6, 64, 2)[..., 0]):
            self.assertFalse(view.is_contiguous())
            for symmetric, scale_dtype in GRIDS:
                arguments = (32, symmetric, scale_dtype)
                self.assert_same_bits(ops.fake_quantize_weight(view, *arguments),
                                      ops.fake_quantize_weight(view.contiguous(), *arguments))
                for actual, expected in zip(ops.quantize_weight(view, *arguments),
                                            ops.quantize_weight(view.contiguous(), *arguments)):
                    self.assert_same_bits(actual, expected)
            self.assert_same_bits(ops.fake_quantize_activation(view),
                                  ops.fake_quantize_activation(view.contiguous()))
            self.assert_same_bits(gradient(ops.fake_quantize_activation, view, view),
                                  gradient(ops.fake_quantize_activation, view.contiguous(),
                                           view.contiguous()))
            codes, scales, zeros = ops.quantize_weight(view, 32, True, torch.float32)
            strided = torch.empty(64, 6, dtype=torch.int8).t().copy_(codes)
            self.assert_same_bits(
                ops.dequantize_weight(strided, scales.t().contiguous().t(), None, True,
                                      torch.float32),
                ops.dequantize_weight(codes, scales, zeros, True, torch.float32))
            self.assertTrue(torch.equal(ops.pack_int4(strided, True), ops.pack_int4(codes, True)))

    def test_empty_batches(self):
        self.assertEqual(ops.fake_quantize_activation(torch.empty(0, 64)).shape, (0, 64))
        for result in ops.quantize_weight(torch.empty(0, 64), 32, True, torch.float32):
            self.assertEqual(result.shape[0], 0)

    def test_errors_are_runtime_errors_with_our_text(self):
        weight = weights()
        codes, scales, zeros = ops.quantize_weight(weight, 32, False, torch.bfloat16)
        wrong = (
            (lambda: ops.fake_quantize_weight(weight, 48, True, torch.float32),
             "group_size 48 does not divide in_features 64"),
            (lambda: ops.fake_quantize_weight(weight, 0, True, torch.float32), "group_size 0"),
            (lambda: ops.fake_quantize_weight(weight[0], 32, True, torch.float32),
             r"weight must be \[out_features, in_features\], got rank 1"),
            (lambda: ops.quantize_weight(weight.double(), 32, True, torch.float32),
             "weight dtype is Double, allowed: Float, BFloat16, Half"),
            (lambda: ops.quantize_weight(weight, 32, False, torch.float32),
             "the affine int4 grid keeps scales in BFloat16, got scale_dtype Float"),
            (lambda: ops.fake_quantize_activation(torch.tensor(1.0)), "at least one dimension"),
            (lambda: ops.quantize_activation(torch.empty(3, 0)), "at least one feature"),
            (lambda: ops.fake_quantize_activation(torch.ones(3, dtype=torch.int32)),
             "activation dtype is Int"),
            (lambda: ops.dequantize_weight(codes.int(), scales, zeros, False, torch.float32),
             "codes must be int8"),
            (lambda: ops.dequantize_weight(codes, scales[:3], zeros, False, torch.float32),
             "scales must be"),
            (lambda: ops.dequantize_weight(codes, scales, None, False, torch.float32),
             "needs zeros"),
            (lambda: ops.pack_int4(weight, True), "codes to pack must be int8"),
            (lambda: ops.unpack_int4(codes, 64, True), "packed codes must be uint8"),
        )
        for call, message in wrong:
            with self.subTest(message):
                self.assertRaisesRegex(RuntimeError, message, call)
        for call in (lambda: ops.fake_quantize_weight(weight.to("meta"), 48, True, torch.float32),
                     lambda: ops.fake_quantize_weight(weight.clone().requires_grad_(), 48, True,
                                                      torch.float32)):
            self.assertRaisesRegex(RuntimeError, "group_size 48 does not divide", call)


if __name__ == "__main__":
    unittest.main()
