//! What the rows share: settings, PyTorch's process, data.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;

use serde_json::{Value, json};

use crate::error::BenchError;
use crate::files;
use crate::measure::Side;
use crate::peer::{Peer, PeerSide};
use crate::settings::Settings;

/// What the rows share.
pub struct Bench {
    /// How it is measured.
    pub settings: Settings,
    peer: Option<Rc<RefCell<Peer>>>,
    /// What PyTorch's process said of itself.
    pub about: Value,
    fashion: Option<(PathBuf, bool)>,
}

impl Bench {
    /// With a folder for what is made.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn new(settings: Settings) -> Result<Self, BenchError> {
        let folder = settings.folder();
        fs::create_dir_all(&folder).map_err(BenchError::file(&folder))?;
        Ok(Self {
            settings,
            peer: None,
            about: Value::Null,
            fashion: None,
        })
    }

    /// PyTorch's process; another one if the last one ended.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn peer(&mut self) -> Result<Rc<RefCell<Peer>>, BenchError> {
        if let Some(peer) = &self.peer
            && peer.borrow_mut().is_alive()
        {
            return Ok(peer.clone());
        }
        let mut peer = Peer::start(&self.settings)?;
        self.about = peer.ask(&json!({"do": "about"}))?;
        let peer = Rc::new(RefCell::new(peer));
        self.peer = Some(peer.clone());
        Ok(peer)
    }

    /// Frees what PyTorch's process holds for a row.
    pub fn free(&mut self, row: &str) {
        if let Some(peer) = &self.peer {
            // A process that ended holds nothing, and the next row starts another one.
            let _ = peer.borrow_mut().ask(&json!({"do": "free", "row": row}));
        }
    }

    /// Adds sides of PyTorch's process; those that cannot be prepared become notes.
    pub fn add_peers<'a>(
        &mut self,
        sides: &mut Vec<Box<dyn Side + 'a>>,
        row: &str,
        kind: &str,
        names: &[&str],
        task: &Value,
        period: u64,
    ) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.settings.with_peers {
            notes.push(format!("PyTorch is left out: {}", names.join(", ")));
            return notes;
        }
        for name in names {
            let prepared = self
                .peer()
                .and_then(|peer| PeerSide::prepare(&peer, row, name, kind, task));
            match prepared {
                Ok(side) => sides.push(Box::new(side.with_period(period))),
                Err(error) => notes.push(format!("{name}: {error}")),
            }
        }
        notes
    }

    /// The folder of Fashion-MNIST, and whether it is the real one and not bytes of the same size.
    ///
    /// # Errors
    /// If a stand-in cannot be written.
    pub fn fashion(&mut self) -> Result<(PathBuf, bool), BenchError> {
        if self.fashion.is_none() {
            self.fashion = Some(files::fashion(&self.settings)?);
        }
        // It was put there a moment ago.
        Ok(self.fashion.clone().unwrap_or_default())
    }

    /// A folder that is empty.
    ///
    /// # Errors
    /// If it cannot be emptied.
    pub fn empty_folder(&self, name: &str) -> Result<PathBuf, BenchError> {
        files::empty(&self.settings.folder().join("tmp").join(name))
    }
}
