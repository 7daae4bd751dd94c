"""The detector and the blur before it, against closed forms and published numbers."""

import numpy as np
import pytest

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.attenuation import mass_attenuation
from SyntheXLib.physics.blur import GeometricBlur, apply_mtf
from SyntheXLib.physics.detector import Detector
from SyntheXLib.physics.spectrum import Spectrum, tube_spectrum

SPACING = (0.194, 0.194)


def moments(beam: Spectrum, detector: Detector) -> tuple[float, float, float]:
    """Absorbed share, energy (keV) and squared energy (keV2) per photon that arrives."""
    absorbed = beam.photons * detector.absorption(beam.energy_kev)
    return float(absorbed.sum()), float(absorbed @ beam.energy_kev), float(absorbed @ beam.energy_kev**2)


@pytest.mark.parametrize(("water_cm", "quanta", "energy", "swank"), [(0, 0.86, 0.83, 0.92), (20, 0.78, 0.75, 0.96)])
def test_absorption_of_the_scintillator(water_cm: float, quanta: float, energy: float, swank: float) -> None:
    beam = tube_spectrum(90, 4)
    left = beam.photons * np.exp(-mass_attenuation("water", beam.energy_kev) * water_cm)
    beam = Spectrum(beam.energy_kev, left / left.sum())
    zeroth, first, second = moments(beam, Detector())
    assert np.isclose(zeroth, quanta, atol=0.005)
    assert np.isclose(first / beam.mean_energy_kev, energy, atol=0.005)
    assert np.isclose(first**2 / (zeroth * second), swank, atol=0.005)


def test_variance_over_mean_is_the_photons_second_moment_over_the_first() -> None:
    detector, rng = Detector(light_swank=1.0), np.random.default_rng(5)
    _, first, second = moments(tube_spectrum(90, 4), detector)
    doses = np.array([20.0, 100.0, 500.0, 2500.0])  # photons a pixel
    drawn = [detector.with_quantum_noise(np.full(90000, n * first), np.full(90000, n * second), rng) for n in doses]
    means, variances = np.array([d.mean() for d in drawn]), np.array([d.var(dtype=float) for d in drawn])
    assert np.allclose(variances / means, second / first, rtol=5 * np.sqrt(2 / 90000) + 0.002)
    assert np.isclose(np.polyfit(np.log(means), np.log(np.sqrt(variances) / means), 1)[0], -0.5, atol=0.005)


def test_zero_frequency_dqe_is_absorption_times_the_swank_factors() -> None:
    detector, photons, rng = Detector(), 400.0, np.random.default_rng(7)
    zeroth, first, second = moments(tube_spectrum(90, 4), detector)
    drawn = detector.with_quantum_noise(np.full((512, 512), photons * first), np.full((512, 512), photons * second), rng)
    image = detector.blurred(drawn, SPACING)
    # Blocks of 32 pixels see frequencies near zero: the blur neither adds nor removes noise there but at the blocks' rims.
    blocks = image.reshape(16, 32, 16, 32).mean((1, 3), dtype=float)
    raw = drawn.reshape(16, 32, 16, 32).mean((1, 3), dtype=float)
    assert np.isclose(blocks.var(), raw.var(), rtol=0.12)
    dqe = drawn.mean(dtype=float) ** 2 / drawn.var(dtype=float) / photons
    assert np.isclose(dqe, zeroth * (first**2 / (zeroth * second)) * 0.9, rtol=0.05)
    assert np.isclose(dqe, 0.86 * 0.92 * 0.9, rtol=0.05)


@pytest.mark.parametrize("shape", ["lorentzian", "gaussian"])
def test_noise_power_is_flat_before_the_blur_and_falls_with_the_squared_mtf_after(shape: str) -> None:
    detector, size, rng = Detector(mtf_shape=shape), 512, np.random.default_rng(11)
    drawn = detector.with_quantum_noise(np.full((size, size), 1e4), np.full((size, size), 1e6), rng)
    frequency = np.fft.fftfreq(size, SPACING[0])
    radius = np.hypot(frequency[:, None], frequency[None])
    power = [np.abs(np.fft.fft2(image - image.mean(dtype=float))) ** 2 for image in (drawn, detector.blurred(drawn, SPACING))]
    white = drawn.var(dtype=float) * size**2
    for low in np.arange(0.1, 2.3, 0.3):
        ring = (radius >= low) & (radius < low + 0.2)
        error = 5 * np.sqrt(2 / ring.sum())  # each of half the ring's values is an exponential variable
        assert np.isclose(power[0][ring].mean(), white, rtol=error)
        expected = white * (detector.mtf(radius, np.zeros(1)) ** 2)[ring].mean()
        assert np.isclose(power[1][ring].mean(), expected, rtol=error + 0.02)


def edge_mtf(image: np.ndarray, slope: float, spacing: float, frequencies: np.ndarray) -> np.ndarray:
    """Transfer from the image of an edge that moves `slope` columns a row: oversampled edge spread, its derivative, its spectrum."""
    rows, columns = np.indices(image.shape)
    distance = (columns - image.shape[1] / 2 - slope * (rows - image.shape[0] / 2)) / np.sqrt(1 + slope**2)
    fine = 4
    index = np.rint(distance * fine).astype(int)
    inside = np.abs(index) <= 40 * fine
    index = index[inside] + 40 * fine
    spread = np.bincount(index, image[inside]) / np.bincount(index)
    line = np.diff(spread)
    at = (np.arange(len(line)) - len(line) / 2) / fine * spacing
    found = np.abs(np.exp(-2j * np.pi * frequencies[:, None] * at) @ line) / np.abs(line.sum())
    return found / np.sinc(frequencies * spacing / fine) ** 2  # the bins' own transfer: their width, and the difference's


@pytest.mark.parametrize("shape", ["lorentzian", "gaussian"])
@pytest.mark.parametrize("spacing", [0.194, 0.388])
def test_a_slanted_edge_is_blurred_by_pixel_scintillator_focal_spot_and_motion(shape: str, spacing: float) -> None:
    size, slope, fine = 160, 0.1, 16
    # What a pixel sees of the edge: the mean over it.
    sub = (np.arange(size * fine) + 0.5) / fine - 0.5
    edge = np.empty((size, size))
    for row in range(size):
        covered = [
            (sub - size / 2 > slope * (part - size / 2)).reshape(size, fine).mean(1) for part in row + (np.arange(fine) + 0.5) / fine - 0.5
        ]
        edge[row] = np.mean(covered, axis=0)
    geometric, detector = GeometricBlur(focal_spot_mm=0.6, motion_mm=0.3), Detector(mtf_shape=shape)
    image = detector.blurred(geometric.apply(edge, (spacing, spacing), 1020.0), (spacing, spacing))
    frequencies = np.linspace(0.1, 0.8, 8) * 0.5 / spacing
    angle = np.arctan(slope)
    u, v = frequencies * np.cos(angle), -frequencies * np.sin(angle)
    shadow = 0.6 * (1020 / 700 - 1)
    expected = np.sinc(u * spacing) * np.sinc(v * spacing) * np.sinc(u * shadow) * np.sinc(v * shadow) * np.sinc(0.3 * u)
    relative = frequencies / 1.4
    expected *= 1 / (1 + relative**2) if shape == "lorentzian" else 2 ** -(relative**2)
    assert np.allclose(edge_mtf(image, slope, spacing, frequencies), expected, atol=0.015)


def test_blur_keeps_the_mean_and_leaves_a_constant_alone() -> None:
    detector, rng = Detector(), np.random.default_rng(2)
    assert np.allclose(detector.blurred(np.full((40, 31), 0.7), SPACING), 0.7, rtol=1e-6)
    spot = np.zeros((101, 101))
    spot[50, 50] = 1
    assert np.isclose(detector.blurred(spot, SPACING).sum(), 1, rtol=1e-4)  # the rest falls beyond the border
    image = rng.random((16, 16))
    assert np.allclose(apply_mtf(image, lambda u, v: np.ones(np.broadcast_shapes(u.shape, v.shape)), SPACING), image, atol=1e-6)
    assert GeometricBlur(focal_spot_mm=0).apply(image, SPACING, 1020) is image


def test_motion_blurs_along_its_direction_only() -> None:
    stripes = np.tile(np.sin(np.arange(128) / 3.0), (128, 1))  # vary along u
    for angle, changes in ((0, True), (90, False)):
        moved = GeometricBlur(focal_spot_mm=0, motion_mm=2.0, motion_deg=angle).apply(stripes, SPACING, 1020)
        assert np.allclose(moved[30:-30, 30:-30], stripes[30:-30, 30:-30], atol=0.01) is not changes


@pytest.mark.parametrize("bits", [1, 8, 14, 16])
def test_the_converter_yields_whole_counts_and_saturates(bits: int) -> None:
    detector = Detector(adc_bits=bits, full_scale=1.25)
    ramp = np.linspace(-0.5, 2.0, 100001)
    found = detector.digitized(ramp)
    counts = found.astype(float) * (2**bits - 1) / 1.25
    assert np.allclose(counts, np.rint(counts), atol=2**bits * 1e-7)
    assert np.array_equal(found[ramp >= 1.25], np.full((ramp >= 1.25).sum(), np.float32(1.25))) and not found[ramp <= 0].any()
    assert np.all(np.diff(found) >= 0)
    inside = (ramp >= 0) & (ramp <= 1.25)
    assert np.abs(found - ramp)[inside].max() <= 0.5 * 1.25 / (2**bits - 1) + 1e-6
    if bits <= 14:
        assert len(np.unique(found)) == 2**bits


def test_without_bits_the_signal_stays_continuous_and_saturates() -> None:
    ramp = np.linspace(-0.5, 2.0, 1001)
    assert np.array_equal(Detector(adc_bits=0, full_scale=1.1).digitized(ramp), ramp.clip(0, 1.1).astype(np.float32))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: Detector(scintillator_mm=0), "scintillator_mm must be above 0, found 0"),
        (lambda: Detector(readout_noise_quanta=-1), "readout_noise_quanta must not be negative, found -1"),
        (lambda: Detector(light_swank=1.5), "at most 1, found 0.75 and 1.5"),
        (lambda: Detector(adc_bits=40), "adc_bits must lie within 0 .* found 40"),
        (lambda: Detector(mtf_shape="box"), "lorentzian or gaussian, found 'box'"),
        (lambda: GeometricBlur(focal_spot_mm=-1), "focal_spot_mm and motion_mm must not be negative"),
    ],
)
def test_impossible_detectors_are_told(call, expected: str) -> None:
    with pytest.raises(SyntheXError, match=expected):
        call()
