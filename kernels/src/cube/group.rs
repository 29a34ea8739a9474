//! How rows are shared among units, and how the units of a row put together what they have.

use burn::backend::TensorMetadata;
use burn_cubecl::tensor::CubeTensor;
use cubecl::features::Plane;
use cubecl::prelude::*;

/// Units of a cube.
const UNITS: u32 = 256;
/// Values of a row that a unit should have before another one helps it: no unit has more unless the whole cube shares the row.
pub(super) const VALUES_A_UNIT: usize = 4;
/// Cubes in a row of cubes, which no device refuses.
const CUBES: u32 = 65_535;

/// How many units share a row, known when a kernel is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    /// Units of a cube.
    units: u32,
    /// Units of a row: a power of two.
    pub(super) group: u32,
    /// Units of the group that lie in one plane and can exchange values: a power of two; 1 without plane operations.
    pub(super) exchanging: u32,
}

impl Shape {
    /// For rows of so many classes on the device of a tensor.
    pub(super) fn of(tensor: &CubeTensor, classes: usize) -> Self {
        let properties = tensor.client.properties();
        let hardware = &properties.hardware;
        // A device that has planes of several sizes may run a kernel with any of them.
        let plane = if properties.features.plane.contains(Plane::Ops) {
            hardware.plane_size_min
        } else {
            1
        };
        Self::fitting(classes, hardware.max_units_per_cube.min(hardware.max_cube_dim.0), plane)
    }

    /// For rows of so many classes where a cube has at most so many units, and a plane at least so many.
    fn fitting(classes: usize, units: u32, plane: u32) -> Self {
        let power_of_two = |most: u32| 1u32 << most.max(1).ilog2();
        let units = UNITS.min(power_of_two(units));
        let group = classes.div_ceil(VALUES_A_UNIT).next_power_of_two().min(units as usize) as u32;
        Self {
            units,
            group,
            exchanging: group.min(power_of_two(plane)),
        }
    }

    pub(super) fn cube_dim(self) -> CubeDim {
        CubeDim::new_1d(self.units)
    }

    /// Cubes for so many rows, in two dimensions: one alone ends at 65,535. Of none nothing is launched.
    pub(super) fn cubes(self, rows: usize) -> CubeCount {
        let cubes = (rows as u64).div_ceil(u64::from(self.units / self.group)) as u32;
        let wide = cubes.clamp(1, CUBES);
        CubeCount::Static(wide, cubes.div_ceil(wide), 1)
    }
}

/// Cubes for the values of a tensor, one a unit.
pub(super) fn elementwise(tensor: &CubeTensor) -> (CubeCount, CubeDim) {
    let shape = Shape::of(tensor, 1);
    (shape.cubes(elements(tensor)), shape.cube_dim())
}

/// Elements of a tensor.
pub(super) fn elements(tensor: &CubeTensor) -> usize {
    tensor.shape().num_elements()
}

/// The index of this unit among all of a launch.
#[cube]
pub(super) fn position() -> usize {
    CUBE_POS * CUBE_DIM as usize + UNIT_POS as usize
}

/// The row of this unit's group, the unit's lane in the group (the first class that it looks at, and then every `group`-th: units
/// read neighbouring values), and the classes of the row: none beyond the last row, where units go along with the others, which
/// wait for them, and write nothing.
#[cube]
pub(super) fn place(rows: u32, classes: u32, #[comptime] shape: Shape) -> (usize, usize, usize) {
    let unit = UNIT_POS as usize;
    let group = comptime![shape.group as usize];
    let row = CUBE_POS * comptime![(shape.units / shape.group) as usize] + unit / group;
    let mut count = 0usize;
    if row < rows as usize {
        count = classes as usize;
    }
    (row, unit % group, count)
}

/// The sum over a group of what each of its units has; all of its units get it. Every unit of the cube must come here.
#[cube]
pub(super) fn sum(value: f32, #[comptime] shape: Shape) -> f32 {
    reduced(value, shape, false)
}

/// The largest of what the units of a group have; as [`sum`].
#[cube]
pub(super) fn largest(value: f32, #[comptime] shape: Shape) -> f32 {
    reduced(value, shape, true)
}

/// In an order that is always the same: the same bits on every launch. Units of a plane exchange what they have with one whose
/// number differs in one bit, after which both have the same; planes, and units where there are none, go through shared memory
/// by halves.
#[cube]
fn reduced(value: f32, #[comptime] shape: Shape, #[comptime] largest: bool) -> f32 {
    let mut own = value;
    let exchanges = comptime![shape.exchanging.trailing_zeros()];
    #[unroll]
    for exchange in 0..exchanges {
        own = combined(own, plane_shuffle_xor(own, comptime![1u32 << exchange]), largest);
    }
    if comptime![shape.exchanging < shape.group] {
        let unit = UNIT_POS as usize;
        let lane = unit % comptime![shape.group as usize];
        let mut all = Shared::<[f32]>::new_slice(comptime![shape.units as usize]);
        all[unit] = own;
        let steps = comptime![(shape.group / shape.exchanging).trailing_zeros()];
        #[unroll]
        for step in 0..steps {
            let half = comptime![(shape.group >> (step + 1)) as usize];
            sync_cube();
            if lane < half {
                own = combined(own, all[unit + half], largest);
                all[unit] = own;
            }
        }
        sync_cube();
        own = all[unit - lane];
    }
    own
}

/// The sum of two values, or the larger one.
#[cube]
fn combined(one: f32, other: f32, #[comptime] largest: bool) -> f32 {
    if comptime![largest] {
        max(one, other)
    } else {
        one + other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_unit_of_the_largest_launch_has_an_index_of_32_bits() {
        let rows_launched = |shape: Shape, rows: usize| {
            let CubeCount::Static(wide, high, 1) = shape.cubes(rows) else {
                panic!("the number of cubes is known");
            };
            assert!(wide <= CUBES && high <= CUBES, "{wide} x {high} cubes");
            u64::from(wide) * u64::from(high) * u64::from(shape.units / shape.group)
        };
        let most = crate::operands::MOST_ON_A_GPU;
        for (classes, units) in [(1, 1024), (1, 128), (2, 256), (8, 64), (100, 1024), (131_072, 1024)] {
            // Of one class a row, a unit a row: as kernels launch that take values one by one.
            let shape = Shape::fitting(classes, units, 32);
            for fewer in [0, 1, 65_535, 65_536, 1 << 24, 1 << 31] {
                let rows = (most - fewer) / classes;
                let launched = rows_launched(shape, rows);
                assert!(
                    rows as u64 <= launched && launched <= 1 << 32,
                    "{launched} rows for {rows} of {classes} classes, {units} units a cube"
                );
            }
        }
        // One more would be done twice.
        assert!(rows_launched(Shape::fitting(1, 1024, 32), most + 1) > 1 << 32);
    }

    #[test]
    fn a_group_is_a_power_of_two_that_fits_the_row_the_cube_and_the_plane() {
        let shape = |units, group, exchanging| Shape {
            units,
            group,
            exchanging,
        };
        assert_eq!(Shape::fitting(2, 1024, 32), shape(256, 1, 1));
        assert_eq!(Shape::fitting(100, 1024, 32), shape(256, 32, 32));
        assert_eq!(Shape::fitting(100, 1024, 8), shape(256, 32, 8));
        assert_eq!(Shape::fitting(131_072, 1024, 64), shape(256, 256, 64));
        assert_eq!(Shape::fitting(131_072, 100, 1), shape(64, 64, 1));
        assert_eq!(Shape::fitting(131_072, 1, 0), shape(1, 1, 1));
    }
}
