"""The vendor's calls: generations, assets, catalogues."""
