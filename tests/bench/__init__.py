"""Speed, side by side with peers. Not laws: figures, to be read with the machine they were measured on."""
