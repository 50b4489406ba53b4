//! What is stored of a tensor: its type, its shape, and its bytes in one piece.

use std::fmt;

use crate::error::Fault;

/// Type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dtype {
    /// Unsigned, 8 bits.
    U8,
    /// Signed, 8 bits.
    I8,
    /// Signed, 16 bits.
    I16,
    /// Signed, 32 bits.
    I32,
    /// Signed, 64 bits.
    I64,
    /// IEEE half precision.
    F16,
    /// Half precision with eight bits of exponent.
    BF16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
    /// One byte, 0 or 1.
    Bool,
}

impl Dtype {
    /// The type that the archive's format gives this number.
    pub(crate) fn numbered(number: u32) -> Result<Self, Fault> {
        Ok(match number {
            1 => Self::U8,
            2 => Self::I8,
            3 => Self::I16,
            4 => Self::I32,
            5 => Self::I64,
            6 => Self::F16,
            7 => Self::F32,
            8 => Self::F64,
            12 => Self::Bool,
            13 => Self::BF16,
            number => return Err(Fault::Dtype { number }),
        })
    }

    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::I16 | Self::F16 | Self::BF16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }

    /// Whether numbers have 16 bits, of which masters cannot be trained.
    pub fn is_half(self) -> bool {
        matches!(self, Self::F16 | Self::BF16)
    }
}

impl fmt::Display for Dtype {
    /// PyTorch's name, without `torch.`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::U8 => "uint8",
            Self::I8 => "int8",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::Bool => "bool",
        })
    }
}

/// Elements that a tensor may have beyond those of its memory: a broadcast one repeats them.
const REPEATED_LIMIT: usize = 1 << 24;

/// How a tensor lies in its memory, which others may share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct View {
    /// Elements before its first one.
    offset: usize,
    sizes: Vec<usize>,
    strides: Vec<usize>,
    /// Bytes of an element.
    width: usize,
}

impl View {
    /// A view within memory of `bytes` bytes.
    pub fn new(
        dtype: Dtype,
        sizes: Vec<usize>,
        strides: Vec<usize>,
        offset: usize,
        bytes: u64,
    ) -> Result<Self, String> {
        if sizes.len() != strides.len() {
            return Err("it has not as many strides as sizes".to_owned());
        }
        let view = Self {
            offset,
            sizes,
            strides,
            width: dtype.bytes(),
        };
        let held = usize::try_from(bytes).unwrap_or(usize::MAX) / view.width;
        let count = view
            .sizes
            .iter()
            .try_fold(1_usize, |all, &size| all.checked_mul(size));
        let end = view.end().ok_or("its end is beyond all memory")?;
        if end > held {
            return Err(format!("it needs {end} elements, its record holds {held}"));
        }
        // A size of 0 would hide an overflow of the others, and what is nothing takes no room.
        match count {
            Some(count) if count <= held.max(REPEATED_LIMIT) => Ok(view),
            _ => Err("it has more elements than fit into memory".to_owned()),
        }
    }

    /// How many elements it has.
    pub fn count(&self) -> usize {
        self.sizes.iter().product()
    }

    /// Bytes of the tensor in one piece.
    pub fn bytes(&self) -> usize {
        self.count() * self.width
    }

    /// Its elements' first and last place, and one more; nothing if it has none.
    pub fn extent(&self) -> std::ops::Range<usize> {
        self.offset..self.end().unwrap_or(usize::MAX)
    }

    fn end(&self) -> Option<usize> {
        if self.sizes.contains(&0) {
            return Some(self.offset);
        }
        let mut end = self.offset.checked_add(1)?;
        for (size, stride) in self.sizes.iter().zip(&self.strides) {
            end = end.checked_add((size - 1).checked_mul(*stride)?)?;
        }
        Some(end)
    }

    /// Whether all of its elements have memory of their own.
    pub fn is_plain(&self) -> bool {
        if self.count() == 0 {
            return true;
        }
        let mut dims: Vec<(usize, usize)> = self
            .strides
            .iter()
            .copied()
            .zip(self.sizes.iter().copied())
            .collect();
        dims.retain(|&(_, size)| size > 1);
        dims.sort_unstable();
        let mut reach = 1;
        dims.into_iter().all(|(stride, size)| {
            let apart = stride >= reach;
            // It ends before the memory does, which the constructor has seen.
            reach += (size - 1) * stride;
            apart
        })
    }

    /// The tensor's elements in order, one by one with their place in memory, in bytes.
    fn each(&self, mut visit: impl FnMut(usize, usize)) {
        let count = self.count();
        let mut index = vec![0; self.sizes.len()];
        let mut place = self.offset;
        for at in 0..count {
            visit(at * self.width, place * self.width);
            for dim in (0..index.len()).rev() {
                index[dim] += 1;
                place += self.strides[dim];
                if index[dim] < self.sizes[dim] {
                    break;
                }
                place -= self.strides[dim] * self.sizes[dim];
                index[dim] = 0;
            }
        }
    }

    /// Whether it lies in one piece.
    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.sizes
            .iter()
            .zip(&self.strides)
            .rev()
            .all(|(&size, &stride)| {
                let fits = size == 1 || stride == expected;
                expected *= size;
                fits
            })
    }

    /// Takes the tensor out of its memory, in one piece.
    pub fn gather(&self, mut memory: Vec<u8>) -> Vec<u8> {
        let start = self.offset * self.width;
        if self.count() == 0 {
            return Vec::new();
        }
        if self.is_contiguous() {
            memory.truncate(start + self.bytes());
            memory.drain(..start);
            return memory;
        }
        let mut tensor = vec![0; self.bytes()];
        self.each(|to, from| {
            tensor[to..to + self.width].copy_from_slice(&memory[from..from + self.width]);
        });
        tensor
    }

    /// Puts a tensor that is in one piece into its memory.
    pub fn scatter(&self, tensor: &[u8], memory: &mut [u8]) {
        self.each(|from, to| {
            memory[to..to + self.width].copy_from_slice(&tensor[from..from + self.width]);
        });
    }

    /// Whether a tensor that is in one piece is what lies in this memory.
    pub fn holds(&self, tensor: &[u8], memory: &[u8]) -> bool {
        let mut same = true;
        self.each(|from, to| {
            same &= memory[to..to + self.width] == tensor[from..from + self.width];
        });
        same
    }

    /// Its dimensions.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }
}
