//! Where the datasets are published, and the SHA-256 of each file.

use std::path::Path;

/// No file of a dataset is larger; a server that sends more is cut off.
pub(super) const LIMIT: u64 = 256 << 20;

/// Where a dataset is published.
#[derive(Debug)]
pub(super) struct Origin {
    /// Address of the folder, without a slash at its end.
    pub base: &'static str,
    pub files: &'static [Pinned],
}

/// A file and what it must be.
#[derive(Debug)]
pub(super) struct Pinned {
    pub name: &'static str,
    /// In hexadecimal.
    pub sha256: &'static str,
}

impl Origin {
    /// What to do where the download is impossible.
    pub(super) fn by_hand(&self, folder: &Path) -> String {
        let names: Vec<_> = self.files.iter().map(|file| file.name).collect();
        let unpacked = match names[..] {
            [name] if name.ends_with(".tar.gz") => ", unpacked,",
            _ => "",
        };
        format!(
            "put {} of {}{unpacked} into {}",
            names.join(", "),
            self.base,
            folder.display()
        )
    }
}

/// The origin of a dataset that is read from files.
pub(super) fn of(name: &str) -> &'static Origin {
    match name {
        "mnist" => &MNIST,
        "fashion-mnist" => &FASHION_MNIST,
        "cifar10" => &CIFAR10,
        "cifar100" => &CIFAR100,
        // A test walks through all of them.
        _ => unreachable!("{name} has no origin"),
    }
}

static MNIST: Origin = Origin {
    base: "https://ossci-datasets.s3.amazonaws.com/mnist",
    files: &[
        Pinned {
            name: "train-images-idx3-ubyte.gz",
            sha256: "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        },
        Pinned {
            name: "train-labels-idx1-ubyte.gz",
            sha256: "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        },
        Pinned {
            name: "t10k-images-idx3-ubyte.gz",
            sha256: "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        },
        Pinned {
            name: "t10k-labels-idx1-ubyte.gz",
            sha256: "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
    ],
};

// The address knows no HTTPS; the digests protect the contents.
static FASHION_MNIST: Origin = Origin {
    base: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    files: &[
        Pinned {
            name: "train-images-idx3-ubyte.gz",
            sha256: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        },
        Pinned {
            name: "train-labels-idx1-ubyte.gz",
            sha256: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        },
        Pinned {
            name: "t10k-images-idx3-ubyte.gz",
            sha256: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        },
        Pinned {
            name: "t10k-labels-idx1-ubyte.gz",
            sha256: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
    ],
};

static CIFAR10: Origin = Origin {
    base: "https://www.cs.toronto.edu/~kriz",
    files: &[Pinned {
        name: "cifar-10-binary.tar.gz",
        sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    }],
};

static CIFAR100: Origin = Origin {
    base: "https://www.cs.toronto.edu/~kriz",
    files: &[Pinned {
        name: "cifar-100-binary.tar.gz",
        sha256: "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    }],
};
