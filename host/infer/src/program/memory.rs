//! Room for the values of one pass.
#![allow(unsafe_code)]

use super::build::Room;
use super::step::{Slot, Step};
use crate::error::{Error, Result};
use crate::kernels::LONGEST;

/// Numbers of all rooms at most.
const MOST: u64 = 1 << 32;
/// Numbers of one room at most: places are counted in 32 bits.
const MOST_OF_ONE: u64 = 1 << 30;

/// As many numbers as a line of the cache holds.
#[derive(Clone, Copy)]
#[repr(align(64))]
#[allow(dead_code)] // Its numbers are read through the room alone.
struct Line([f32; LONGEST]);

/// What a program needs, and which slot lies where.
#[derive(Debug, Default)]
pub struct Plan {
    /// Lengths in numbers, and what they are filled with.
    lengths: Vec<(usize, f32)>,
    /// Of each slot its place in `lengths`.
    pub of_slot: Vec<usize>,
}

impl Plan {
    /// Lets slots of one layout share their room where they are not needed at the same time.
    ///
    /// # Errors
    /// More than memory may be asked for.
    pub fn new(rooms: &[Room], steps: &[Step], output: Slot) -> Result<Self> {
        let mut last = vec![0; rooms.len()];
        for (at, step) in steps.iter().enumerate() {
            let (reads, writes) = step.slots();
            for slot in reads.into_iter().chain([writes]) {
                last[slot] = at;
            }
        }
        last[output] = usize::MAX;
        let mut plan = Self {
            lengths: Vec::new(),
            of_slot: vec![usize::MAX; rooms.len()],
        };
        for (slot, room) in rooms.iter().enumerate() {
            if room.is_own {
                plan.add(slot, room)?;
            }
        }
        let mut free: Vec<Slot> = Vec::new();
        for (at, step) in steps.iter().enumerate() {
            let (reads, writes) = step.slots();
            if plan.of_slot[writes] == usize::MAX {
                let room = &rooms[writes];
                match free.iter().position(|&it| rooms[it] == *room) {
                    Some(place) => {
                        plan.of_slot[writes] = plan.of_slot[free.swap_remove(place)];
                    }
                    None => plan.add(writes, room)?,
                }
            }
            let mut ended: Vec<Slot> = reads;
            ended.push(writes);
            ended.sort_unstable();
            ended.dedup();
            let over = |slot: &Slot| last[*slot] == at && !rooms[*slot].is_own;
            free.extend(ended.into_iter().filter(over));
        }
        Ok(plan)
    }

    fn add(&mut self, slot: Slot, room: &Room) -> Result<()> {
        let numbers = room.layout.numbers().unwrap_or(usize::MAX);
        let too_large = |what: &str, got: u64, most: u64| Error::TooLarge {
            what: what.to_owned(),
            got: got.to_string(),
            most,
        };
        if numbers as u64 > MOST_OF_ONE {
            let what = "the number of numbers of a value with what stands around it";
            return Err(too_large(what, numbers as u64, MOST_OF_ONE));
        }
        self.lengths.push((numbers, room.fill));
        let total = self.numbers();
        if total > MOST {
            let what = "the number of numbers of the values of a pass";
            return Err(too_large(what, total, MOST));
        }
        self.of_slot[slot] = self.lengths.len() - 1;
        Ok(())
    }

    /// Numbers of all rooms together.
    pub fn numbers(&self) -> u64 {
        self.lengths.iter().map(|it| it.0 as u64).sum()
    }
}

/// The rooms themselves.
pub struct Memory {
    rooms: Vec<Vec<Line>>,
}

impl Memory {
    /// Rooms as planned.
    ///
    /// # Errors
    /// If the system does not have so much.
    pub fn new(plan: &Plan) -> Result<Self> {
        let mut rooms = Vec::with_capacity(plan.lengths.len());
        for &(length, fill) in &plan.lengths {
            let lines = length.div_ceil(LONGEST);
            let mut room: Vec<Line> = Vec::new();
            room.try_reserve_exact(lines).map_err(|_| Error::TooLarge {
                what: "the memory of a pass".to_owned(),
                got: format!(
                    "{} bytes, which the system does not have",
                    4 * plan.numbers()
                ),
                most: 4 * MOST,
            })?;
            room.resize(lines, Line([fill; LONGEST]));
            rooms.push(room);
        }
        Ok(Self { rooms })
    }

    /// The numbers of a room of the plan.
    pub fn room(&mut self, place: usize) -> &mut [f32] {
        let lines = &mut self.rooms[place];
        let length = lines.len() * LONGEST;
        // SAFETY: a line is so many numbers and nothing else.
        unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), length) }
    }
}
