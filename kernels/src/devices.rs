//! The devices that there are.

#[cfg(feature = "gpu")]
use burn::backend::DispatchDevice;
use burn::tensor::Device;
#[cfg(feature = "gpu")]
use burn::tensor::DeviceType;

/// A device that operations can run on.
#[derive(Clone, Debug)]
pub struct Found {
    /// What it calls itself.
    pub name: String,
    /// As Burn knows it.
    pub device: Device,
}

/// The GPUs that wgpu finds, and its drivers in software after them; none where the build is without the feature `gpu`.
/// Opens each of them.
pub fn devices() -> Vec<Found> {
    #[cfg(feature = "gpu")]
    {
        let mut found: Vec<(bool, Found)> = Device::enumerate(DeviceType::Wgpu)
            .into_iter()
            .map(|device| {
                let identity = device.identity();
                let in_software = identity.as_ref().is_none_or(|identity| identity.physical.is_none());
                let found = Found {
                    name: identity.map_or_else(|| "unnamed".to_owned(), |identity| identity.name),
                    device,
                };
                (in_software, found)
            })
            .collect();
        // Stable: among the real ones the system's order stays.
        found.sort_by_key(|(in_software, _)| *in_software);
        found.into_iter().map(|(_, found)| found).collect()
    }
    #[cfg(not(feature = "gpu"))]
    Vec::new()
}

/// Bytes that one buffer of a device holds at most; none of the CPU, whose memory has no such limit.
pub(crate) fn largest_buffer(device: &Device) -> Option<u64> {
    #[cfg(feature = "gpu")]
    if let DispatchDevice::Cube(device) = device.clone().inner().as_dispatch() {
        // Of WGSL the smaller one of a buffer's size and of what a kernel can be given of it.
        return Some(device.client().properties().memory.max_page_size);
    }
    #[cfg(not(feature = "gpu"))]
    let _ = device;
    None
}

#[cfg(all(test, feature = "fusion"))]
mod tests {
    use burn::backend::fusion::Fusion;
    use burn_cubecl::{Cube, CubeBackend};
    use std::any::TypeId;

    /// Burn runs what its tensors on a GPU ask for on `Cube`: were it the plain backend, the feature would change nothing.
    #[test]
    fn a_build_with_fusion_fuses() {
        assert_eq!(TypeId::of::<Cube>(), TypeId::of::<Fusion<CubeBackend>>());
    }
}
