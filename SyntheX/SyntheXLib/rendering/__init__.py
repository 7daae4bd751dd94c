"""The ray caster and the realism levels that make an image from its projections."""
