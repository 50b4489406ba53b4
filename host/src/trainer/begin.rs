//! Where a seed begins, and what of its weights counts.

use plugin_api::Layer;
use tch::{Device, Tensor};

use super::{Snapshot, Trainer};
use crate::model::{Connections, Parameter};
use crate::rng::{Moment, Purpose, Stream};

impl Trainer {
    /// The initial parameters and running statistics of a seed. They are drawn on the CPU: the same
    /// bits on every device.
    pub fn initial(&self, seed: u64) -> Snapshot {
        self.initial_draw(seed, 0)
    }

    /// Another draw of the initial parameters and running statistics of a seed, by its number; draw 0
    /// is [`initial`](Trainer::initial).
    pub fn initial_draw(&self, seed: u64, number: u64) -> Snapshot {
        let draw = |parameter: &Parameter| {
            let name = &parameter.name;
            let count = parameter.shape.iter().product::<i64>() as usize;
            let purpose = match number {
                0 => Purpose::Init(name),
                draw => Purpose::InitDraw {
                    parameter: name,
                    draw,
                },
            };
            let mut stream = Stream::new(seed, purpose, Moment::default());
            let values = parameter.init.draw(count, &mut stream);
            let tensor = Tensor::from_slice(&values).view(&parameter.shape[..]);
            (name.clone(), tensor.to_device(self.device))
        };
        let mut tensors: Vec<_> = self.layout.parameters().map(draw).collect();
        let statistics = self.layout.new_statistics(1, self.device);
        let statistics = self.layout.lane_statistics(&statistics, 0);
        for (buffer, tensor) in self.layout.buffers().iter().zip(statistics) {
            tensors.push((buffer.name.clone(), tensor.copy()));
        }
        Snapshot { tensors }
    }

    /// Number of weights of each prunable layer that lie on a path from the network's input to its
    /// output. Weights that are excluded from pruning all conduct.
    ///
    /// # Shapes
    /// `masks`: one for each prunable layer, with its shape.
    pub fn effective(&self, masks: &[Tensor]) -> Vec<u64> {
        let parameters = self.network.parameters();
        let place = |parameter: &Parameter| {
            let own = |layer: &Layer| layer.name == parameter.name;
            self.layers().iter().position(own)
        };
        let connections = Connections::of(&self.network.graph(), parameters);
        let effective = connections.effective(|index| {
            let parameter = &parameters[index];
            match place(parameter) {
                Some(layer) => masks[layer].to_device(Device::Cpu),
                None => Tensor::ones(&parameter.shape[..], (tch::Kind::Float, Device::Cpu)),
            }
        });
        // What lies on no path that is known, such as the weights of an imported network's attention, counts
        // as it is.
        let kept = |mask: &Tensor| mask.count_nonzero(None).int64_value(&[]) as u64;
        let mut counts: Vec<u64> = masks.iter().map(kept).collect();
        for (index, on_path) in effective {
            if let Some(layer) = place(&parameters[index]) {
                counts[layer] = on_path.sum(tch::Kind::Int64).int64_value(&[]) as u64;
            }
        }
        counts
    }

    /// Masks that prune nothing, one for each prunable layer.
    pub fn dense_mask(&self) -> Vec<Tensor> {
        let ones = |layer: &Layer| Tensor::ones(&layer.shape[..], (tch::Kind::Float, self.device));
        self.layers().iter().map(ones).collect()
    }
}
