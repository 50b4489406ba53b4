//! Which rank this process is, as whoever started it says.

use std::env;

/// Which rank this process is, and where it finds the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its number.
    pub rank: usize,
    /// How many there are.
    pub count: usize,
    /// The machine of rank 0.
    pub address: String,
    /// The port of the store there; 0 lets rank 0 choose.
    pub port: u16,
    /// Whether rank 0 holds the store, not whoever started it.
    pub serves: bool,
    /// What tells this start of the ranks from others at the same store.
    pub attempt: String,
}

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PlaceError(String);

/// The port that torchrun and PyTorch's examples use.
const PORT: u16 = 29_500;

impl Place {
    /// What the environment says: the variables of torchrun, or of a step that `srun` started; none if this process is
    /// alone.
    ///
    /// # Errors
    /// If a variable is missing or no number.
    pub fn of_environment() -> Result<Option<Self>, PlaceError> {
        Self::among(&|name| env::var(name).ok())
    }

    fn among(get: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>, PlaceError> {
        let number = |name: &str| -> Result<Option<u64>, PlaceError> {
            let Some(text) = get(name) else {
                return Ok(None);
            };
            let parsed = text.trim().parse().map(Some);
            parsed.map_err(|_| PlaceError(format!("{name} is \"{text}\", expected a number")))
        };
        let missing = |name: &str| {
            PlaceError(format!(
                "{name} is not set, expected the machine and port of rank 0 in MASTER_ADDR and MASTER_PORT, as \
                 torchrun sets them; unset RANK and WORLD_SIZE to train on this process alone"
            ))
        };
        let port = match number("MASTER_PORT")?.map(u16::try_from) {
            Some(Err(_)) => {
                let error = "MASTER_PORT is no port, expected a number up to 65535";
                return Err(PlaceError(error.to_owned()));
            }
            Some(Ok(port)) => Some(port),
            None => None,
        };
        let found = if let (Some(rank), Some(count)) = (number("RANK")?, number("WORLD_SIZE")?) {
            if count <= 1 {
                return Ok(None);
            }
            let port = match port {
                Some(port) => port,
                None => return Err(missing("MASTER_PORT")),
            };
            Self {
                rank: rank as usize,
                count: count as usize,
                address: get("MASTER_ADDR").ok_or_else(|| missing("MASTER_ADDR"))?,
                port,
                serves: get("TORCHELASTIC_USE_AGENT_STORE").as_deref() != Some("True"),
                attempt: get("TORCHELASTIC_RESTART_COUNT").unwrap_or_default(),
            }
        } else {
            // A step of srun's, not the script of a job, which has the job's number of tasks, too.
            let in_step = get("SLURM_STEP_ID").is_some_and(|id| id.parse::<u32>().is_ok());
            let count = number("SLURM_STEP_NUM_TASKS")?.or(number("SLURM_NTASKS")?);
            let (Some(rank), Some(count), true) = (number("SLURM_PROCID")?, count, in_step) else {
                return Ok(None);
            };
            if count <= 1 {
                return Ok(None);
            }
            let first = || first_node(&get("SLURM_STEP_NODELIST").or(get("SLURM_NODELIST"))?);
            let address = get("MASTER_ADDR").or_else(first);
            let job = number("SLURM_JOB_ID")?.unwrap_or_default();
            let step = get("SLURM_STEP_ID").unwrap_or_default();
            let restarts = get("SLURM_RESTART_COUNT").unwrap_or_default();
            Self {
                rank: rank as usize,
                count: count as usize,
                address: address.ok_or_else(|| {
                    PlaceError("SLURM_STEP_NODELIST is not set, expected the nodes of the step, or the machine of rank 0 in MASTER_ADDR".to_owned())
                })?,
                // Two steps on one node have ports of their own.
                port: port.unwrap_or(PORT + (job % 20_000) as u16),
                serves: true,
                attempt: format!("{job}.{step}.{restarts}"),
            }
        };
        if found.rank >= found.count {
            return Err(PlaceError(format!(
                "this process is rank {} of {}: ranks are counted from 0",
                found.rank, found.count
            )));
        }
        Ok(Some(found))
    }
}

/// The first of the nodes in Slurm's short form, such as `node[01-04,07],other`.
fn first_node(list: &str) -> Option<String> {
    let end = list.find([',', '[']).unwrap_or(list.len());
    let (name, rest) = list.split_at(end);
    let Some(numbers) = rest.strip_prefix('[') else {
        return (!name.is_empty()).then(|| name.to_owned());
    };
    let (inner, after) = numbers.split_once(']')?;
    let first = inner.split([',', '-']).next()?;
    let after = after.split(',').next().unwrap_or_default();
    Some(format!("{name}{first}{after}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn place(variables: &[(&str, &str)]) -> Result<Option<Place>, String> {
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        let get = |name: &str| variables.get(name).map(|it| (*it).to_owned());
        Place::among(&get).map_err(|error| error.to_string())
    }

    #[test]
    fn torchruns_variables_are_a_place() {
        let all = [
            ("RANK", "2"),
            ("WORLD_SIZE", "4"),
            ("MASTER_ADDR", "node1"),
            ("MASTER_PORT", "29400"),
        ];
        let found = place(&all).unwrap().unwrap();
        assert_eq!((found.rank, found.count, found.port), (2, 4, 29_400));
        assert!(found.serves);
        let agent = [&all[..], &[("TORCHELASTIC_USE_AGENT_STORE", "True")]].concat();
        assert!(!place(&agent).unwrap().unwrap().serves);
        let missing = place(&all[..3]).unwrap_err();
        assert!(missing.contains("MASTER_PORT is not set"), "{missing}");
        let no_number = place(&[("RANK", "two"), ("WORLD_SIZE", "4")]).unwrap_err();
        assert!(no_number.contains("RANK is \"two\""), "{no_number}");
        let beyond = [&[("RANK", "4")], &all[1..]].concat();
        assert!(place(&beyond).unwrap_err().contains("rank 4 of 4"));
    }

    #[test]
    fn a_step_of_srun_is_a_place_and_the_script_of_a_job_is_none() {
        let step = [
            ("SLURM_PROCID", "1"),
            ("SLURM_NTASKS", "8"),
            ("SLURM_STEP_NUM_TASKS", "4"),
            ("SLURM_STEP_ID", "0"),
            ("SLURM_JOB_ID", "123"),
            ("SLURM_STEP_NODELIST", "node[03-04,07]"),
        ];
        let found = place(&step).unwrap().unwrap();
        assert_eq!((found.rank, found.count), (1, 4));
        assert_eq!((found.address.as_str(), found.port), ("node03", PORT + 123));
        assert_eq!(place(&step[..2]).unwrap(), None);
        assert_eq!(place(&[("RANK", "0"), ("WORLD_SIZE", "1")]).unwrap(), None);
        assert_eq!(place(&[]).unwrap(), None);
    }

    #[test]
    fn the_first_node_of_a_list_is_that_of_rank_0() {
        for (list, first) in [
            ("node7", "node7"),
            ("a,b", "a"),
            ("node[1-4]", "node1"),
            ("n[01,03]-ib,m", "n01-ib"),
        ] {
            assert_eq!(first_node(list).as_deref(), Some(first), "{list}");
        }
        assert_eq!(first_node(""), None);
    }
}
