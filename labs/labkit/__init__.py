"""What the labs share: data, commands, figures, checks; and what runs and publishes them.

Importing it makes ``scripts`` and ``skin_lesions`` of the two bundles and ``sm_launch`` importable, which are run from
their folders and are installed nowhere.
"""

from . import project

project.make_importable()
