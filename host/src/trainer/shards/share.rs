//! What of a batch a process computes.

use std::ops::Range;

/// The shards of a batch that a process computes: neighbours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::trainer) struct Share {
    /// Shards of a batch.
    pub count: u64,
    /// Its own.
    pub shards: Range<u64>,
}

impl Share {
    /// That of the process with this rank of so many, which divide the number of shards.
    pub fn new(count: u64, rank: u64, of: u64) -> Self {
        Self {
            count,
            shards: count * rank / of..count * (rank + 1) / of,
        }
    }

    /// Its samples of a batch of so many.
    pub fn samples(&self, batch: i64) -> Range<i64> {
        self.first(self.shards.start, batch)..self.first(self.shards.end, batch)
    }

    /// The samples of one shard of a batch of so many: shards differ by one sample at most.
    pub fn samples_of(&self, shard: u64, batch: i64) -> Range<i64> {
        self.first(shard, batch)..self.first(shard + 1, batch)
    }

    fn first(&self, shard: u64, batch: i64) -> i64 {
        // No batch has so many samples that this overflows: they are indices into memory.
        batch * shard as i64 / self.count as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_in_one_shard_and_every_shard_in_one_share() {
        for count in [1, 2, 3, 4, 6, 8] {
            for batch in count..60 {
                let (mut sizes, mut next) = (Vec::new(), 0);
                for rank in 0..count {
                    let share = Share::new(count, rank, count);
                    let samples = share.samples(batch as i64);
                    assert_eq!(samples, share.samples_of(rank, batch as i64));
                    assert_eq!(samples.start, next);
                    next = samples.end;
                    sizes.push(samples.end - samples.start);
                }
                assert_eq!(next, batch as i64);
                let (least, most) = (sizes.iter().min(), sizes.iter().max());
                assert!(most.unwrap() - least.unwrap() <= 1 && *least.unwrap() > 0);
                for of in (1..=count).filter(|of| count % of == 0) {
                    let shares: Vec<_> = (0..of)
                        .map(|rank| Share::new(count, rank, of).samples(batch as i64))
                        .collect();
                    assert_eq!(
                        (shares[0].start, shares[of as usize - 1].end),
                        (0, batch as i64)
                    );
                    assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
                }
            }
        }
    }
}
