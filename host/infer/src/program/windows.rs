//! What windows over an image see, laid out so that each weight of a window reads one plane from some place on.
//!
//! With a stride of s, positions that are s apart go side by side: the image is dealt out into s x s planes, the
//! phases, with the padding around it. A window's place (r, c) reads phase (r mod s, c mod s), r / s lines and c / s
//! columns further than the position.

use super::layout::Layout;
use super::step::Run;
use crate::network::Network;

/// Windows over an image: sizes downwards and to the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Windows {
    /// Of a window.
    pub kernel: [usize; 2],
    /// From a window to the next.
    pub stride: [usize; 2],
    /// Beyond each edge.
    pub padding: [usize; 2],
}

impl Windows {
    /// Those of a convolution, in one or two dimensions.
    pub fn of_layer(network: &Network, layer: &str, stride: usize, padding: usize) -> Self {
        let weight = network.tensors.get(&format!("{layer}.weight"));
        match weight.map_or(&[][..], |it| &it.shape) {
            &[_, _, down, right] => Self {
                kernel: [down, right],
                stride: [stride; 2],
                padding: [padding; 2],
            },
            other => Self {
                kernel: [1, other.last().copied().unwrap_or(1)],
                stride: [1, stride],
                padding: [0, padding],
            },
        }
    }

    /// Positions of the windows over an image of this size.
    pub fn positions(&self, size: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|at| (size[at] + 2 * self.padding[at] - self.kernel[at]) / self.stride[at] + 1)
    }

    /// Whether an image can be read where it lies, and what is made of it lies with its pitch.
    pub fn are_direct(&self, image: &Layout) -> bool {
        let [_, width] = self.positions(image.size);
        self.stride == [1, 1] && self.padding.iter().all(|&it| it <= 1) && width < image.pitch
    }

    /// Phases downwards and to the right.
    fn phases(&self) -> [usize; 2] {
        [0, 1].map(|at| self.kernel[at].min(self.stride[at]))
    }

    /// How the planes lie that are made of an image: those of each channel together.
    pub fn planes(&self, image: &Layout) -> Layout {
        let [height, width] = self.positions(image.size);
        let beyond = [0, 1].map(|at| (self.kernel[at] - 1) / self.stride[at]);
        let [down, right] = self.phases();
        Layout::planes(
            image.rows * down * right,
            height + beyond[0],
            width + beyond[1].max(1),
            image.lanes,
        )
    }

    /// How an image is dealt out into the planes.
    pub fn runs(&self, image: &Layout) -> Vec<Run> {
        let planes = self.planes(image);
        let [down, right] = self.phases();
        let mut runs = Vec::new();
        for channel in 0..image.rows {
            for (plane, [row, column]) in self.each_phase().enumerate() {
                let plane = channel * down * right + plane;
                // Columns of the plane that lie in the image.
                let [stride, padding] = [self.stride[1], self.padding[1]];
                let first = padding.saturating_sub(column).div_ceil(stride);
                let Some(last) = (image.size[1] - 1 + padding).checked_sub(column) else {
                    continue;
                };
                let end = (last / stride + 1).min(planes.pitch);
                for line in 0..planes.size[0] {
                    let seen = (line * self.stride[0] + row).checked_sub(self.padding[0]);
                    let Some(seen) = seen.filter(|it| *it < image.size[0]) else {
                        continue;
                    };
                    if first >= end {
                        continue;
                    }
                    let from = image.place(channel, seen, first * stride + column - padding);
                    runs.push(Run {
                        from: from as u32,
                        to: planes.place(plane, line, first) as u32,
                        count: (end - first) as u32,
                        step: stride as u32,
                    });
                }
            }
        }
        runs
    }

    fn each_phase(&self) -> impl Iterator<Item = [usize; 2]> {
        let [down, right] = self.phases();
        (0..down).flat_map(move |row| (0..right).map(move |column| [row, column]))
    }

    /// How far from a position each place of a window reads of the planes of one channel.
    pub fn offsets_in_planes(&self, planes: &Layout, channel: usize) -> Vec<i32> {
        let [down, right] = self.phases();
        self.each_place(|[row, column]| {
            let phase = row % self.stride[0] * right + column % self.stride[1];
            let plane = channel * down * right + phase;
            planes.place(plane, row / self.stride[0], column / self.stride[1]) as i64
        })
    }

    /// How far from a position each place of a window reads of one channel of an image.
    pub fn offsets_in_image(&self, image: &Layout, channel: usize) -> Vec<i32> {
        self.each_place(|[row, column]| {
            let [down, right] = [
                row as i64 - self.padding[0] as i64,
                column as i64 - self.padding[1] as i64,
            ];
            (channel * image.stride) as i64
                + (down * image.pitch as i64 + right) * image.lanes as i64
        })
    }

    fn each_place(&self, of: impl Fn([usize; 2]) -> i64) -> Vec<i32> {
        let [down, right] = self.kernel;
        (0..down)
            .flat_map(|row| (0..right).map(move |column| [row, column]))
            .map(|place| of(place) as i32)
            .collect()
    }
}
