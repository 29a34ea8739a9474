//! The order in which a job sees its rows.

use crate::random::Stream;

/// Batches over `len` places, epoch after epoch, each epoch in a new order of a stream of its own.
///
/// A short last batch is given, one of a single row left out: batch norm has no variance for it.
#[derive(Debug)]
pub(crate) struct Batches {
    places: Vec<u32>,
    batch: usize,
    next: usize,
    shuffles: Stream,
}

impl Batches {
    /// Batches of `batch` over those places.
    pub(crate) fn new(places: Vec<u32>, batch: u32, shuffles: Stream) -> Self {
        let next = places.len();
        Self {
            places,
            batch: batch as usize,
            next,
            shuffles,
        }
    }

    /// Batches of an epoch.
    pub(crate) fn an_epoch(&self) -> u64 {
        an_epoch(self.places.len(), self.batch)
    }

    /// Begins an epoch.
    fn shuffle(&mut self) {
        self.shuffles.shuffle(&mut self.places);
        self.next = 0;
    }

    /// The next batch of this epoch, or `None` at its end.
    fn next(&mut self) -> Option<&[u32]> {
        let end = self.places.len().min(self.next + self.batch);
        if end - self.next < 2 {
            return None;
        }
        let batch = &self.places[self.next..end];
        self.next = end;
        Some(batch)
    }

    /// The next batch, of a new epoch where this one is at its end.
    pub(crate) fn cycle(&mut self) -> Option<&[u32]> {
        if self.places.len() - self.next < 2 {
            self.shuffle();
        }
        self.next()
    }
}

/// Batches of an epoch over so many rows.
pub(crate) fn an_epoch(rows: usize, batch: usize) -> u64 {
    let (whole, rest) = (rows / batch, rows % batch);
    (whole + usize::from(rest >= 2)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(len: u32, batch: u32) -> Batches {
        Batches::new((0..len).collect(), batch, Stream::new(1, 1, "s", "0"))
    }

    fn epoch(batches: &mut Batches) -> Vec<usize> {
        batches.shuffle();
        let mut sizes = Vec::new();
        while let Some(batch) = batches.next() {
            sizes.push(batch.len());
        }
        assert_eq!(batches.an_epoch(), sizes.len() as u64);
        sizes
    }

    #[test]
    fn a_short_batch_is_used_and_one_of_a_single_row_dropped() {
        assert_eq!(epoch(&mut batches(10, 4)), [4, 4, 2]);
        assert_eq!(epoch(&mut batches(9, 4)), [4, 4]);
        assert_eq!(epoch(&mut batches(3, 4)), [3]);
        assert_eq!(epoch(&mut batches(1, 4)), Vec::<usize>::new());
    }

    #[test]
    fn epochs_have_orders_of_their_own_and_every_row_once() {
        let mut batches = batches(50, 50);
        let mut orders = Vec::new();
        for _ in 0..3 {
            batches.shuffle();
            let order = batches.next().unwrap().to_vec();
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..50).collect::<Vec<_>>());
            orders.push(order);
        }
        assert!(orders[0] != orders[1] && orders[1] != orders[2]);
    }

    #[test]
    fn a_cycle_goes_round() {
        let mut batches = batches(5, 2);
        let sizes: Vec<usize> = (0..5).map(|_| batches.cycle().unwrap().len()).collect();
        assert_eq!(sizes, [2, 2, 2, 2, 2]);
        assert!(self::batches(1, 2).cycle().is_none());
    }
}
