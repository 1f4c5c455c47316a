"""Which run stands in a cell, beside which published figure, and which is best."""
