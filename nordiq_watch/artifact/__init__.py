"""What a model directory is: names, files, proof of completeness, reading, writing. For training and reload."""
