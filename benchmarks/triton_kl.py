"""The divergence from softened targets as a fused Triton kernel: what `bench_kernels` is compared with on an NVIDIA GPU.

    python benchmarks/triton_kl.py [--quick]

The columns are those of `bench_kernels`: milliseconds, by CUDA events; MB that must move; GB/s of them; their share of a
device-to-device copy's rate in the same run; and how many times as long PyTorch's own operations take. The copy is CUDA's
(`copy_`), that of `bench_kernels` a kernel that reads and writes each value: the rate of such a kernel here is printed beside
it, and milliseconds compare where shares do not. Student and teacher are
`rows x classes` in float32 (or the teacher in float16), the temperature is 2, the loss the mean over rows.

- `KL forward` writes the losses of rows.
- `KL both ways` is an autograd function: forward writes the gradient too, backward multiplies it by what autograd hands it, as
  `softmax_kl` does: 20 bytes a value.
- `KL both ways, fused` writes losses and gradients, and knows beforehand that the loss is a mean: 12 bytes a value. Nothing that
  follows the loss is differentiated then; `softmax_kl` promises more than that.

Rows that fit are held in registers, several short ones by one program; longer ones are read once for an online softmax and once
more for the gradient. Of some sizes of blocks and warps the fastest is taken, for each shape. What takes a few microseconds is
bound by Python here, and says nothing of the kernel: compare shapes that exceed the cache.
"""

import sys

try:
    import torch
    import triton
    import triton.language as tl
except ImportError as error:
    sys.exit(f"triton_kl.py: {error.name} is missing: pip install torch (on Linux Triton comes with it)")

SHAPES = [(65_536, 10), (65_536, 100), (2_097_152, 100), (16_384, 1_000), (4_096, 32_000), (2_048, 131_072)]
TEMPERATURE = 2.0
# Classes up to which a row is held in registers.
HELD = 16_384


@triton.jit
def held_rows(
    student,
    teacher,
    losses,
    gradient,
    rows,
    classes,
    inverse_temperature,
    scale,
    WITH_GRADIENT: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    at = row[:, None] * classes + column[None, :]
    inside = (row[:, None] < rows) & (column[None, :] < classes)
    # Large and finite: the difference of two infinities would not be a number.
    s = tl.load(student + at, mask=inside, other=-1.0e30).to(tl.float32) * inverse_temperature
    t = tl.load(teacher + at, mask=inside, other=-1.0e30).to(tl.float32) * inverse_temperature
    s -= tl.max(s, axis=1)[:, None]
    t -= tl.max(t, axis=1)[:, None]
    e = tl.where(inside, tl.exp(s), 0.0)
    f = tl.where(inside, tl.exp(t), 0.0)
    total = tl.sum(e, axis=1)
    teacher_total = tl.sum(f, axis=1)
    difference = tl.sum(f * (t - s), axis=1) / teacher_total
    tl.store(losses + row, difference + tl.log(total / teacher_total), mask=row < rows)
    if WITH_GRADIENT:
        slope = (e / total[:, None] - f / teacher_total[:, None]) * scale
        tl.store(gradient + at, slope, mask=inside)


@triton.jit
def long_rows(
    student,
    teacher,
    losses,
    gradient,
    classes,
    inverse_temperature,
    scale,
    WITH_GRADIENT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    student += row * classes
    teacher += row * classes
    gradient += row * classes
    maximum = -1.0e30
    total = 0.0
    teacher_maximum = -1.0e30
    teacher_total = 0.0
    # The teacher's mean difference from the student, both below their maxima, times the teacher's total.
    difference = 0.0
    for first in range(0, classes, BLOCK):
        column = first + tl.arange(0, BLOCK)
        inside = column < classes
        s = tl.load(student + column, mask=inside, other=-1.0e30).to(tl.float32) * inverse_temperature
        t = tl.load(teacher + column, mask=inside, other=-1.0e30).to(tl.float32) * inverse_temperature
        larger = tl.maximum(maximum, tl.max(s, axis=0))
        teacher_larger = tl.maximum(teacher_maximum, tl.max(t, axis=0))
        shift = maximum - larger
        teacher_shift = teacher_maximum - teacher_larger
        difference = tl.exp(teacher_shift) * (difference + teacher_total * (teacher_shift - shift))
        s -= larger
        t -= teacher_larger
        f = tl.where(inside, tl.exp(t), 0.0)
        total = total * tl.exp(shift) + tl.sum(tl.where(inside, tl.exp(s), 0.0), axis=0)
        teacher_total = teacher_total * tl.exp(teacher_shift) + tl.sum(f, axis=0)
        difference += tl.sum(f * (t - s), axis=0)
        maximum = larger
        teacher_maximum = teacher_larger
    tl.store(losses + row, difference / teacher_total + tl.log(total / teacher_total))
    if WITH_GRADIENT:
        for first in range(0, classes, BLOCK):
            column = first + tl.arange(0, BLOCK)
            inside = column < classes
            s = tl.load(student + column, mask=inside, other=-1.0e30).to(tl.float32) * inverse_temperature
            t = tl.load(teacher + column, mask=inside, other=-1.0e30).to(tl.float32) * inverse_temperature
            slope = tl.exp(s - maximum) / total - tl.exp(t - teacher_maximum) / teacher_total
            tl.store(gradient + column, slope * scale, mask=inside)


def launches(rows, classes):
    """Ways to launch a kernel on such rows: sizes of blocks and numbers of warps."""
    if classes > HELD:
        return [("long", block, warps) for block in (2_048, 4_096, 8_192, 16_384) for warps in (4, 8, 16)]
    block = triton.next_power_of_2(classes)
    counts = [count for count in (1, 2, 4, 8, 16, 32, 64, 128) if count == 1 or count * block <= 8_192]
    return [("held", count, warps) for count in counts for warps in (1, 2, 4, 8, 16) if count * block >= 32 * warps]


def divergence(student, teacher, with_gradient, launch):
    """Losses of all rows; their gradients, over the number of rows, where they are asked for."""
    rows, classes = student.shape
    losses = torch.empty(rows, device=student.device)
    gradient = torch.empty_like(student) if with_gradient else losses
    inverse = 1 / TEMPERATURE
    kind, size, warps = launch
    if kind == "long":
        long_rows[(rows,)](
            student, teacher, losses, gradient, classes, inverse, inverse / rows, with_gradient, size, num_warps=warps
        )
    else:
        block = triton.next_power_of_2(classes)
        held_rows[(triton.cdiv(rows, size),)](
            student, teacher, losses, gradient, rows, classes, inverse, inverse / rows, with_gradient, size, block,
            num_warps=warps,
        )
    return losses, gradient


class Divergence(torch.autograd.Function):
    @staticmethod
    def forward(context, student, teacher, launch):
        losses, context.gradient = divergence(student, teacher, True, launch)
        return losses.mean()

    @staticmethod
    def backward(context, loss_gradient):
        return context.gradient.mul_(loss_gradient), None, None


def by_torch(student, teacher):
    p = torch.log_softmax(teacher.float() / TEMPERATURE, 1)
    q = torch.log_softmax(student / TEMPERATURE, 1)
    return torch.nn.functional.kl_div(q, p, reduction="batchmean", log_target=True)


def both_ways(loss, student):
    student = student.detach().requires_grad_()
    loss(student).backward()
    return student.grad


def seconds(run, rounds=5):
    """The shortest time of a run, by events on the device."""

    def once(count):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(count):
            run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3 / count

    # The first one compiles.
    once(1)
    count = int(min(max(0.1 / once(1), 1), 100))
    return min(once(count) for _ in range(rounds))


def fastest(run, candidates):
    """The candidate of the shortest time: those that the device cannot hold are passed over."""
    times = {}
    for candidate in candidates:
        try:
            times[candidate] = seconds(lambda: run(candidate), rounds=1)
        except triton.runtime.OutOfResources:
            continue
    return min(times, key=times.get)


def check(rows, classes):
    """Values and gradients are PyTorch's."""
    student = torch.randn(rows, classes, device="cuda") * 5
    teacher = torch.randn(rows, classes, device="cuda") * 5
    expected = by_torch(student, teacher)
    slope = both_ways(lambda student: by_torch(student, teacher), student)
    losses, gradient = divergence(student, teacher, True, launches(rows, classes)[0])
    torch.testing.assert_close(losses.mean(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradient, slope, rtol=1e-4, atol=1e-7)


def main():
    quick = "--quick" in sys.argv[1:]
    for argument in sys.argv[1:]:
        if argument != "--quick":
            sys.exit(f"triton_kl.py: unknown argument '{argument}' (--quick)")
    if not torch.cuda.is_available():
        sys.exit("triton_kl.py: PyTorch finds no CUDA device here")
    for shape in [(7, 10), (33, 100), (5, 40_000)]:
        check(*shape)
    values = 1 << (22 if quick else 26)
    source, target = torch.ones(values, device="cuda"), torch.zeros(values, device="cuda")
    copy = 8 * values / seconds(lambda: target.copy_(source))
    # A multiplication is a kernel that reads and writes each value; PyTorch has none that only copies.
    kernel = 8 * values / seconds(lambda: torch.mul(source, 1.0001, out=target))
    del source, target
    print(f"\n{torch.cuda.get_device_name()}, Triton {triton.__version__}, PyTorch {torch.__version__}: ", end="")
    print(f"a copy moves {copy / 1e9:.1f} GB/s, a kernel {kernel / 1e9:.1f}; times by the device's clock")
    print(f"{'':>28} {'rows':>9} x {'classes':<7} {'ms':>9} {'MB':>9} {'GB/s':>9} {'copy':>7} {'PyTorch':>7}")

    def say(what, rows, classes, bytes_a_value, run, torchs):
        launch = fastest(run, launches(rows, classes))
        time = seconds(lambda: run(launch), rounds=2 if quick else 5)
        moved = bytes_a_value * rows * classes
        rate = moved / time
        times = seconds(torchs, rounds=2 if quick else 5) / time
        figures = f"{time * 1e3:>9.3f} {moved / 1e6:>9.1f} {rate / 1e9:>9.1f} {rate / copy:>7.2f} {times:>7.1f}"
        print(f"{what:>28} {rows:>9} x {classes:<7} {figures}", flush=True)

    for rows, classes in SHAPES:
        if quick and rows * classes > 1 << 20:
            continue
        student = torch.randn(rows, classes, device="cuda")
        teacher = torch.randn(rows, classes, device="cuda")
        half = teacher.half()

        def torchs(teacher):
            return lambda: both_ways(lambda student: by_torch(student, teacher), student)

        def own(teacher):
            return lambda launch: both_ways(lambda student: Divergence.apply(student, teacher, launch), student)

        def alone(with_gradient):
            return lambda launch: divergence(student, teacher, with_gradient, launch)

        say("KL forward", rows, classes, 8, alone(False), lambda: by_torch(student, teacher))
        say("KL both ways", rows, classes, 20, own(teacher), torchs(teacher))
        say("KL both ways, float16", rows, classes, 18, own(half), torchs(half))
        say("KL both ways, fused", rows, classes, 12, alone(True), torchs(teacher))


if __name__ == "__main__":
    main()
