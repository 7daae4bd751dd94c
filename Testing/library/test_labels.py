import numpy as np

from SyntheXLib.tasks.labels import bits_of_labels, exclusive_labels, structure_masks


def test_masks_follow_the_bits_and_later_structures_lie_on_top() -> None:
    bits = np.array([[0b000, 0b001, 0b110], [0b010, 0b101, 0b111]], np.uint16)
    masks = structure_masks(bits, 3)
    assert masks[0].tolist() == [[False, True, False], [False, True, True]]
    assert masks[2].tolist() == [[False, False, True], [False, True, True]]
    assert exclusive_labels(bits, 3).tolist() == [[0, 1, 3], [2, 3, 3]]


def test_bits_of_labels_is_the_inverse_where_nothing_overlaps() -> None:
    labels = np.arange(33, dtype=np.uint8).reshape(3, 11)
    assert np.array_equal(exclusive_labels(bits_of_labels(labels), 32), labels)


def test_the_highest_bit_of_32_works() -> None:
    bits = np.array([[1 << 31]], np.uint32)
    assert structure_masks(bits, 32)[31, 0, 0]
    assert exclusive_labels(bits, 32)[0, 0] == 32
