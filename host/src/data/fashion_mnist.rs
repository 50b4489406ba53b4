//! Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747): 60,000 + 10,000 articles of clothing.

use super::fetch::{Origin, Pinned};
use super::folder::{Files, Package};
use super::hints::Elsewhere;
use super::image::{ImageOptions, Images};
use super::{Definition, Source, idx};
use crate::registry::Entry;
use plugin_api::schemars::schema_for;

pub(super) const ENTRY: Entry<Definition> = Entry {
    name: FILES.name,
    summary: "60,000 + 10,000 articles of clothing, 28x28 grey, 10 classes",
    schema: || schema_for!(ImageOptions),
    build: Definition {
        load: |options, context| idx::build(&IMAGES, &FILES, options, context),
        declared: |options| IMAGES.declared(options),
        source: Source::Published(&FILES, &ORIGIN),
    },
};

pub(super) const FILES: Files = Files {
    name: "fashion-mnist",
    files: idx::FILES,
    gz: true,
    // Debian compresses them anew, so that only what they hold is the same everywhere.
    contents: &[
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ],
    inside: None,
    // Of Debian and Ubuntu.
    package: Some(Package {
        name: "dataset-fashion-mnist",
        folder: "/usr/share/datasets/fashion-mnist",
    }),
    elsewhere: Elsewhere {
        folders: &["FashionMNIST/raw", "raw"],
        python: None,
    },
};

pub(super) const IMAGES: Images = Images {
    name: FILES.name,
    classes: 10,
    shape: [1, 28, 28],
    train: 60_000,
    test: 10_000,
    mean: &[0.2860],
    std: &[0.3530],
};

// The address knows no HTTPS; the digests protect the contents.
static ORIGIN: Origin = Origin {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DataContext;
    use crate::registry::Options;
    use std::path::{Path, PathBuf};
    use tch::{Device, Kind, Tensor};

    /// Of the published files; also computed with another program.
    const CHECKSUM: &str = "319dd7f74074e4b97c7a5f0093ca1678ee5378f839ac640d036896edfa00f870";

    #[test]
    fn reads_the_real_images_where_they_are_installed() {
        let package = FILES.package.as_ref().unwrap().folder;
        if !Path::new(package).is_dir() {
            println!("skipped: {package} is absent (apt-get install dataset-fashion-mnist)");
            return;
        }
        let context = DataContext {
            data_dir: PathBuf::from("no-such-folder"),
            device: Device::Cpu,
        };
        let dataset = (ENTRY.build.load)(&Options::new(), &context).unwrap();
        assert_eq!(
            dataset.train.inputs.tensor().unwrap().size(),
            [60_000, 1, 28, 28]
        );
        assert_eq!(
            dataset.test.inputs.tensor().unwrap().size(),
            [10_000, 1, 28, 28]
        );
        let histogram = |labels: &Tensor| -> Vec<i64> {
            Vec::try_from(labels.bincount(None::<Tensor>, 10)).unwrap()
        };
        assert_eq!(histogram(&dataset.train.labels), [6000; 10]);
        assert_eq!(histogram(&dataset.test.labels), [1000; 10]);
        let pixels = dataset.train.inputs.tensor().unwrap().to_kind(Kind::Double);
        let mean = pixels.mean(Kind::Double).double_value(&[]);
        let std = pixels.std(false).double_value(&[]);
        assert!((mean - 72.94).abs() < 0.005, "{mean}");
        assert!((mean / 255.0 - IMAGES.mean[0]).abs() < 1e-4, "{mean}");
        assert!((std / 255.0 - IMAGES.std[0]).abs() < 1e-4, "{std}");
        // Ankle boot, T-shirt, T-shirt, dress, T-shirt.
        let first: Vec<i64> = Vec::try_from(dataset.train.labels.narrow(0, 0, 5)).unwrap();
        assert_eq!(first, [9, 0, 0, 3, 0]);
        assert_eq!(dataset.checksum, CHECKSUM);

        let all = Tensor::arange(60_000, (Kind::Int64, Device::Cpu));
        let (inputs, _) = dataset.train.gather(&all).unwrap();
        let mean = inputs.mean(Kind::Double).double_value(&[]);
        let std = inputs.std(false).double_value(&[]);
        assert!(
            mean.abs() < 1e-3 && (std - 1.0).abs() < 1e-3,
            "{mean} {std}"
        );
    }
}
