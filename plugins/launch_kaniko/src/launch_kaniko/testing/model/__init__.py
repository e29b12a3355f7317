"""A model of the executor, for where the real one cannot be had: it takes the same arguments, reads the same
contexts and logins, says the same words, and does build and push images. Standard library only.

It knows a part of the Dockerfile language (FROM, ARG, ENV, RUN, COPY, WORKDIR, USER, CMD, ENTRYPOINT, LABEL),
builds below a directory instead of in its own root, and takes snapshots by attributes. What the real one
does beyond that, it cannot show: the live tests run the real one.
"""
