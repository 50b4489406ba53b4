//! Numbers that belong to one unit: a disjoint-set forest.

/// A unit while it is traced; [`NOBODY`] is none.
pub type Id = i64;

/// What is 0 whatever the units are, such as the border that padding adds.
pub const NOBODY: Id = 0;

/// Units that were tied together, and those that stay.
#[derive(Clone, Debug)]
pub struct Ties {
    parents: Vec<Id>,
    /// Why the unit stays, at its root.
    stays: Vec<Option<String>>,
}

impl Ties {
    pub fn new() -> Self {
        Self {
            parents: vec![NOBODY],
            stays: vec![None],
        }
    }

    /// So many new units.
    pub fn add(&mut self, count: usize) -> Vec<Id> {
        let first = self.parents.len() as Id;
        let new: Vec<Id> = (first..first + count as Id).collect();
        self.parents.extend(&new);
        self.stays.resize(self.parents.len(), None);
        new
    }

    /// The unit that stands for all that this one is tied to.
    pub fn root(&mut self, id: Id) -> Id {
        let mut root = id;
        while self.parents[root as usize] != root {
            root = self.parents[root as usize];
        }
        let mut at = id;
        while self.parents[at as usize] != root {
            at = std::mem::replace(&mut self.parents[at as usize], root);
        }
        root
    }

    /// Makes one unit of two.
    pub fn tie(&mut self, one: Id, other: Id) {
        if one == NOBODY || other == NOBODY {
            return;
        }
        let (one, other) = (self.root(one), self.root(other));
        if one != other {
            let (first, second) = (one.min(other), one.max(other));
            self.parents[second as usize] = first;
            let reason = self.stays[second as usize].take();
            let own = &mut self.stays[first as usize];
            *own = own.take().or(reason);
        }
    }

    /// Has a unit stay; the first reason counts.
    pub fn keep(&mut self, id: Id, reason: &str) {
        if id != NOBODY {
            let root = self.root(id) as usize;
            self.stays[root].get_or_insert_with(|| reason.to_owned());
        }
    }

    /// Why a unit stays; none if it can go.
    pub fn reason(&mut self, id: Id) -> Option<&str> {
        let root = self.root(id) as usize;
        self.stays[root].as_deref()
    }
}
